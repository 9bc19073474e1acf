/** Reads the header of a safetensors file, and refuses one that breaks a rule of the format. */
import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { z } from "zod";
import { convertError } from "../../errors.js";
import { duplicateKey } from "../../text/duplicate-keys.js";
import { bitsOf, bytesOf, DTYPES } from "./dtypes.js";

/** The format's own bound on a header. */
export const MOST_HEADER_BYTES = 100_000_000;
const LENGTH_BYTES = 8;
/** How the text begins that Git LFS leaves where a file was not fetched. */
const LFS_POINTER = Buffer.from("version ");

export interface TensorEntry {
  name: string;
  dtype: string;
  shape: readonly number[];
  /** Bytes from the start of the data. */
  begin: number;
  end: number;
}

export interface Header {
  /** In the order of their data, which they cover without a hole. */
  tensors: readonly TensorEntry[];
  metadata: Readonly<Record<string, string>>;
  /** Where the data begin in the file. */
  dataStart: number;
  sha256: string;
}

const size = z.number().int().nonnegative();
const entry = z.object({ dtype: z.string(), shape: z.array(size), data_offsets: z.tuple([size, size]) });
const metadata = z.record(z.string(), z.string());

/** A file that breaks a rule of the format. */
function broken(file: string, problem: string): Error {
  return convertError("OPSWAP_E_SOURCE", `${file}: ${problem}`);
}

/** Reads and checks the header of a file; nothing but the header is read. */
export function readHeader(file: string): Header {
  const fd = openSync(file, "r");
  try {
    const length = Buffer.alloc(LENGTH_BYTES);
    const fileBytes = fstatSync(fd).size;
    if (readSync(fd, length, 0, LENGTH_BYTES, 0) < LENGTH_BYTES)
      throw broken(file, `has ${fileBytes} bytes, which is too short for a safetensors file`);
    if (length.equals(LFS_POINTER))
      throw broken(
        file,
        "is a Git LFS pointer in the file's place: fetch the file itself, by `git lfs pull`",
      );
    const bytes = headerLength(file, length.readBigUInt64LE(0), fileBytes);
    const text = Buffer.alloc(bytes);
    if (readSync(fd, text, 0, bytes, LENGTH_BYTES) < bytes) throw broken(file, "ends inside its header");
    return parseHeader(file, text, fileBytes);
  } finally {
    closeSync(fd);
  }
}

function headerLength(file: string, claimed: bigint, fileBytes: number): number {
  if (claimed > BigInt(MOST_HEADER_BYTES))
    throw broken(file, `claims a header of ${claimed} bytes; the format allows ${MOST_HEADER_BYTES}`);
  if (claimed + BigInt(LENGTH_BYTES) > BigInt(fileBytes))
    throw broken(file, `claims a header of ${claimed} bytes and has ${fileBytes} in all: it is truncated`);
  return Number(claimed);
}

/** Checks a header as the format demands: names, dtypes, shapes, and data that are covered exactly once. */
export function parseHeader(file: string, bytes: Buffer, fileBytes: number): Header {
  const json = parseJson(file, bytes);
  const tensors: TensorEntry[] = [];
  let notes: Record<string, string> = {};
  for (const [name, value] of Object.entries(json)) {
    if (name === "__metadata__") notes = parseMetadata(file, value);
    else tensors.push(parseEntry(file, name, value));
  }
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  const dataStart = LENGTH_BYTES + bytes.length;
  checkCover(file, tensors, fileBytes - dataStart);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return { tensors, metadata: notes, dataStart, sha256 };
}

function parseJson(file: string, bytes: Buffer): object {
  if (bytes[0] !== 0x7b) throw broken(file, "has a header that does not begin with {");
  let text: string;
  let json: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    json = JSON.parse(text);
  } catch (error) {
    throw broken(file, `has a header that is not JSON: ${(error as Error).message.slice(0, 120)}`);
  }
  const twice = duplicateKey(text);
  if (twice !== undefined) throw broken(file, `names ${JSON.stringify(twice)} twice in its header`);
  return json as object;
}

function parseMetadata(file: string, value: unknown): Record<string, string> {
  const parsed = metadata.safeParse(value);
  if (!parsed.success) throw broken(file, "has __metadata__ that is not a map of strings");
  return parsed.data;
}

function parseEntry(file: string, name: string, value: unknown): TensorEntry {
  const parsed = entry.safeParse(value);
  const where = `tensor ${JSON.stringify(name)}`;
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw broken(file, `${where}: ${issue?.path.join(".") ?? ""} ${issue?.message ?? "is malformed"}`);
  }
  const { dtype, shape, data_offsets } = parsed.data;
  const [begin, end] = data_offsets;
  const bits = bitsOf(dtype);
  if (bits === undefined)
    throw broken(file, `${where} has dtype ${dtype}; the format has ${DTYPES.join(", ")}`);
  const bytes = bytesOf(bits, shape);
  if (bytes === undefined) throw broken(file, `${where} has a shape whose size is no whole number of bytes`);
  if (end - begin !== bytes)
    throw broken(file, `${where} has offsets ${begin} to ${end}; its dtype and shape need ${bytes} bytes`);
  return { name, dtype, shape, begin, end };
}

function checkCover(file: string, tensors: readonly TensorEntry[], dataBytes: number): void {
  let at = 0;
  for (const { name, begin, end } of tensors) {
    const where = `tensor ${JSON.stringify(name)} begins at byte ${begin} of the data`;
    if (begin > at) throw broken(file, `${where}, which leaves a hole of ${begin - at} bytes before it`);
    if (begin < at) throw broken(file, `${where}, inside the one before it, which ends at ${at}`);
    at = end;
  }
  if (at > dataBytes)
    throw broken(file, `has ${dataBytes} bytes of data, its header describes ${at}: it is truncated`);
  if (at < dataBytes) throw broken(file, `has ${dataBytes - at} bytes behind its last tensor`);
}
