/** A record of the audit: who changed what, when, why, and what came of it. */
import { createHash } from "node:crypto";
import * as z from "zod/mini";

const text = z.string().check(z.maxLength(4096));
const choice = z.record(text, text);

/** What a writer says; the store adds number, time and chain. */
const entry = z.object({
  who: z.object({ user: text, uid: z.int(), host: text }),
  /** The verb. */
  action: text,
  /** asked: before anything happens; then one of the others, or none when the writer was killed. */
  outcome: z.enum(["asked", "done", "refused", "unknown"]),
  /** Number of the record that asked, for an outcome. */
  asked: z.optional(z.int()),
  engine: z.nullable(text),
  /** Implementation by op, before and after. */
  from: z.nullable(choice),
  to: choice,
  why: z.nullable(text),
  ticket: z.nullable(text),
  epoch: z.nullable(z.int()),
  /** `build_digest` of the library. */
  build: z.nullable(text),
  /** Id of the verdict that it follows from. */
  verdict: z.optional(text),
  /** Code and message of a refusal. */
  error: z.nullable(z.object({ code: text, message: text })),
});

const record = z.extend(entry, {
  n: z.int().check(z.positive()),
  time: z.iso.datetime(),
  /** sha256 of the line before, without its newline; zeros for the first. */
  previous: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
});

export type AuditEntry = z.infer<typeof entry>;
export type AuditRecord = z.infer<typeof record>;

export const FIRST_PREVIOUS = "0".repeat(64);

/** The end of the chain: how many records there are, in how many bytes, and the digest of the last. */
export interface Head {
  records: number;
  bytes: number;
  digest: string;
}

export const EMPTY: Head = { records: 0, bytes: 0, digest: FIRST_PREVIOUS };

/** The line of an entry behind `head`, and the head with it. */
export function chained(head: Head, given: AuditEntry, time: Date): { line: string; head: Head } {
  const n = head.records + 1;
  const line = JSON.stringify({ n, time: time.toISOString(), previous: head.digest, ...shortened(given) });
  return { line, head: after(head, line) };
}

/** The head once this line is in the file. */
export function after(head: Head, line: string): Head {
  return { records: head.records + 1, bytes: head.bytes + Buffer.byteLength(line) + 1, digest: sha256(line) };
}

/** The record of a line; undefined for anything else. */
export function parseRecord(line: string): AuditRecord | undefined {
  try {
    return record.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

const sha256 = (line: string) => createHash("sha256").update(line).digest("hex");

/** A message of an engine may be long; a record is bounded. */
function shortened(given: AuditEntry): AuditEntry {
  if (given.error === null) return given;
  return { ...given, error: { ...given.error, message: given.error.message.slice(0, 1000) } };
}
