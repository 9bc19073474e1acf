/** Messages of the protocol as bytes (msgpack). */
import { Packr } from "msgpackr/pack";
import { Unpackr } from "msgpackr/unpack";
import { type Reply, reply } from "../generated/messages.js";

const packr = new Packr({ useRecords: false });
// The protocol has no integer beyond 2^53, and a bigint would surprise every reader of a counter.
const unpackr = new Unpackr({ useRecords: false, int64AsType: "number" });
const INT32 = 2 ** 31;

/** A request frame. */
export function encode(message: Readonly<Record<string, unknown>>): Buffer {
  return packr.pack(isExact(message) ? message : exact(message));
}

/** A reply as the protocol declares it; undefined for anything else. */
export function decode(frame: Buffer): Reply | undefined {
  try {
    const parsed = reply().safeParse(unpackr.unpack(frame));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

/** msgpackr writes a number beyond 32 bits as a float, which the server rightly refuses where an integer is due. */
function isWide(value: unknown): value is number {
  return Number.isSafeInteger(value) && Math.abs(value as number) >= INT32;
}

/** Nearly every message is, and then nothing has to be copied. */
function isExact(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return !isWide(value);
  if (Array.isArray(value)) return value.every(isExact);
  for (const key in value) if (!isExact((value as Record<string, unknown>)[key])) return false;
  return true;
}

function exact(value: unknown): unknown {
  if (isWide(value)) return BigInt(value);
  if (Array.isArray(value)) return value.map(exact);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, exact(entry)]));
}
