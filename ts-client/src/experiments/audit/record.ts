/** A record of the audit: who changed what, when, why, and what came of it. */
import { createHash } from "node:crypto";
import * as z from "zod/mini";

const MOST_TEXT = 4096;
const MOST_MESSAGE = 1000;

const text = z.string().check(z.maxLength(MOST_TEXT));
const choice = z.record(text, text);

/** What a writer says; the store adds number, time and chain. */
const entry = z.object({
  who: z.object({ user: text, uid: z.int(), host: text }),
  /** The verb, or the kind of an engine's event. */
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
  /** Of what an engine did by itself: its journal, its number there, and when it was. */
  event: z.optional(z.object({ journal: text, n: z.int(), time: text })),
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
  /** The number of the last event of each journal, so that none is taken twice. */
  events?: Readonly<Record<string, number>> | undefined;
}

export const EMPTY: Head = { records: 0, bytes: 0, digest: FIRST_PREVIOUS };

/** The line of an entry behind `head`, and the head with it. */
export function chained(head: Head, given: AuditEntry, time: Date): { line: string; head: Head } {
  const n = head.records + 1;
  const line = JSON.stringify({ n, time: time.toISOString(), previous: head.digest, ...shortened(given) });
  return { line, head: after(head, line, given) };
}

/** The head once this line, which holds `event`, is in the file. */
export function after(head: Head, line: string, { event }: Pick<AuditEntry, "event">): Head {
  const bytes = head.bytes + Buffer.byteLength(line) + 1;
  const events = event ? { ...head.events, [event.journal]: event.n } : head.events;
  return { records: head.records + 1, bytes, digest: sha256(line), ...(events && { events }) };
}

/** Those of an engine's events that are not in the audit yet, and a record of those that were not kept until now. */
export function uncollected({ events }: Head, all: readonly AuditEntry[]): AuditEntry[] {
  const known = (journal: string) => events?.[journal] ?? 0;
  const fresh = all.filter(({ event }) => event !== undefined && event.n > known(event.journal));
  const [first] = fresh;
  const lost = first?.event ? first.event.n - known(first.event.journal) - 1 : 0;
  if (!first?.event || lost === 0) return fresh;
  const why = `${lost} earlier events were not kept until somebody asked`;
  const event = { ...first.event, n: first.event.n - 1 };
  return [
    { ...first, action: "events-missed", from: null, to: {}, why, ticket: null, epoch: null, event },
    ...fresh,
  ];
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

/** What people and engines say may be long, and a record that is too long would be none. */
function shortened(given: AuditEntry): AuditEntry {
  const { error } = given;
  const said = error && { ...error, message: error.message.slice(0, MOST_MESSAGE) };
  return clipped({ ...given, error: said }) as AuditEntry;
}

function clipped(value: unknown): unknown {
  if (typeof value === "string") return value.slice(0, MOST_TEXT);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [key.slice(0, MOST_TEXT), clipped(one)]),
  );
}
