/** The sample stream: what a comparison has seen, a line of JSON for each chosen call, in the order in which they ended. */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import * as z from "zod/mini";
import type { ShadowRecord } from "../generated/messages.js";
import { OpswapError } from "../types/errors.js";

const CHUNK_BYTES = 1 << 20;
/** A line is bounded before it is parsed. */
const LINE_BYTES = 16_384;
const MOST_FILE_BYTES = 1 << 30;

/** The status of a call that went well. */
export const OK = "OPSWAP_OK";

const count = z.int().check(z.nonnegative());
/** A number that is not finite has no place in JSON: null stands for it. */
const size = z.nullable(z.number().check(z.nonnegative()));
const name = z.string().check(z.minLength(1), z.maxLength(256));
const text = z.string().check(z.maxLength(4096));

/** The first line: what was compared, by what. */
const header = z.object({
  kind: z.literal("header"),
  schema: z.literal(1),
  op: name,
  /** Of the op's declaration, as the manifest has it. */
  op_hash: name,
  control: name,
  candidate: name,
  /** `build_digest` of the library that ran both. */
  build: name,
  /** Of the file of a user's own kernel, or of a second build. */
  candidate_digest: z.optional(name),
  /** What calls of a Python callable cost before it computes anything; not there for what is none. */
  control_dispatch_ns: z.optional(z.number().check(z.nonnegative())),
  candidate_dispatch_ns: z.optional(z.number().check(z.nonnegative())),
  engine: z.optional(name),
  model: z.optional(text),
  device: z.optional(text),
  /** The salt of the choice of calls: with it the same calls are chosen again. */
  salt: z.optional(z.union([count, name])),
});

/** A chosen call: the ShadowRecord of ipc/messages.json, field by field. */
const sample = z.object({
  kind: z.literal("sample"),
  /** As opswap_bucket_name says it: shape and dtype. */
  bucket: name,
  rank: z._default(count, 0),
  sequence: count,
  time_us: z._default(count, 0),
  step: z._default(count, 0),
  epoch: z._default(count, 0),
  layer: z._default(count, 0),
  candidate_first: z.boolean(),
  control_ns: count,
  candidate_ns: count,
  control_status: z._default(name, OK),
  candidate_status: z._default(name, OK),
  candidate_overran: z._default(z.boolean(), false),
  elements: z._default(count, 0),
  differing: z._default(count, 0),
  outside: z._default(count, 0),
  became_nonfinite: z._default(count, 0),
  max_abs: z._default(size, 0),
  worst: z._default(size, 0),
  /** Of control against itself; absent where it ran once. */
  floor_differing: z.optional(count),
  floor_worst: z.optional(size),
});

/** Both implementations on a recorded call against the float64 reference: largest difference over what the tolerance allows there. */
const reference = z.object({
  kind: z.literal("reference"),
  bucket: name,
  control_worst: size,
  candidate_worst: size,
});

/** What went wrong with the candidate beside its results. */
const event = z.object({
  kind: z.literal("event"),
  bucket: name,
  event: z.enum(["exception", "timeout", "out_of_memory", "crash"]),
  message: z._default(text, ""),
});

const line = z.discriminatedUnion("kind", [sample, reference, event]);

export type SampleHeader = z.infer<typeof header>;
export type Sample = z.infer<typeof sample>;
export type Reference = z.infer<typeof reference>;
export type SafetyEvent = z.infer<typeof event>;
export type SampleLine = z.infer<typeof line>;

/** A stream that was read: its header, and the digest of all its bytes once it was read to its end. */
export interface SampleStream {
  header: SampleHeader;
  lines: Iterable<SampleLine>;
  /** sha256 in hex, and number of lines; only after the last line. */
  end(): { sha256: string; lines: number };
}

/** The text of a stream, whose records are those of `opswap shadow`. Numbers that are not finite become null, as JSON writes them. */
export function samplesText(head: SampleHeader, records: readonly ShadowRecord[]): string {
  return [head, ...records.map(sampleOf)].map(sampleText).join("");
}

/** A record of an engine's shadow as a line of the stream. */
export function sampleOf(record: ShadowRecord): Sample {
  return { kind: "sample", ...record };
}

/** One line, with its newline. */
export function sampleText(line: SampleHeader | SampleLine): string {
  return `${JSON.stringify(line)}\n`;
}

/** Opens a file of samples. Lines are read while they are asked for. */
export function readSamples(file: string): SampleStream {
  const digest = createHash("sha256");
  let number = 0;
  const texts = linesOf(file, digest);
  const next = () => {
    const { value, done } = texts.next();
    number += done ? 0 : 1;
    return done ? undefined : value;
  };
  const head = parse(header, next() ?? "", file, 1);
  function* lines(): Generator<SampleLine> {
    for (let text = next(); text !== undefined; text = next()) yield parse(line, text, file, number);
  }
  return { header: head, lines: lines(), end: () => ({ sha256: digest.digest("hex"), lines: number }) };
}

function parse<T>(schema: z.ZodMiniType<T>, text: string, file: string, number: number): T {
  const parsed = schema.safeParse(fromJson(text));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join(".") ?? "";
  throw refused(file, number, `${where === "" ? "" : `${where}: `}${issue?.message ?? "not as declared"}`);
}

function fromJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function refused(file: string, number: number, what: string): OpswapError {
  return new OpswapError("OPSWAP_E_SAMPLES", `${file}, line ${number}: ${what}`);
}

/** The lines of a file, each ended by a newline, as they are read. */
function* linesOf(file: string, digest: { update(data: Uint8Array): unknown }): Generator<string> {
  const fd = openSync(file, "r");
  try {
    const chunk = Buffer.alloc(CHUNK_BYTES);
    let [rest, number, total] = [Buffer.alloc(0), 1, 0];
    for (let got = readSync(fd, chunk); got > 0; got = readSync(fd, chunk)) {
      total += got;
      if (total > MOST_FILE_BYTES) throw refused(file, number, `the file is over ${MOST_FILE_BYTES} bytes`);
      digest.update(chunk.subarray(0, got));
      rest = Buffer.concat([rest, chunk.subarray(0, got)]);
      let begin = 0;
      for (let at = rest.indexOf(10); at >= 0; at = rest.indexOf(10, begin)) {
        if (at - begin > LINE_BYTES) throw refused(file, number, `it is over ${LINE_BYTES} bytes`);
        yield rest.toString("utf8", begin, at);
        begin = at + 1;
        number++;
      }
      rest = rest.subarray(begin);
      if (rest.length > LINE_BYTES) throw refused(file, number, `it is over ${LINE_BYTES} bytes`);
    }
    if (rest.length > 0) throw refused(file, number, "it is cut: a line ends with a newline");
  } finally {
    closeSync(fd);
  }
}
