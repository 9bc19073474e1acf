import { closeSync, existsSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";
import { z } from "zod";
import { convertError } from "./errors.js";
import { type TensorReport, tensorReport } from "./tensor-report.js";

const begin = z.object({
  kind: z.literal("begin"),
  fingerprint: z.string(),
  /** Modification times, which tell a source that changed in place. */
  modified: z.record(z.string(), z.string()),
});
const line = z.discriminatedUnion("kind", [
  begin,
  z.object({ kind: z.literal("tensor"), report: tensorReport }),
]);
type Line = z.infer<typeof line>;
export type Begin = z.infer<typeof begin>;

/** A list of what is done, one JSON line each. A line that a kill cut short is as if it had never been. */
export class Journal {
  readonly done = new Map<string, TensorReport>();
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Opens the journal of this conversion, begun or not; refuses that of another. */
  static open(file: string, first: Omit<Begin, "kind">): Journal {
    const lines = existsSync(file) ? wholeLines(file) : [];
    const fd = openSync(file, "a");
    const journal = new Journal(fd);
    try {
      const [head, ...rest] = lines;
      if (head === undefined) journal.#append({ kind: "begin", ...first });
      else checkSame(head, first);
      for (const one of rest) if (one.kind === "tensor") journal.done.set(one.report.name, one.report);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    return journal;
  }

  add(report: TensorReport): void {
    this.#append({ kind: "tensor", report });
    this.done.set(report.name, report);
  }

  close(): void {
    closeSync(this.#fd);
  }

  #append(one: Line): void {
    writeSync(this.#fd, `${JSON.stringify(one)}\n`);
  }
}

function wholeLines(file: string): Line[] {
  const text = readFileSync(file, "utf8");
  const end = text.lastIndexOf("\n") + 1;
  truncateSync(file, Buffer.byteLength(text.slice(0, end)));
  const lines: Line[] = [];
  for (const one of text.slice(0, end).split("\n").filter(Boolean)) {
    const parsed = line.safeParse(tryJson(one));
    if (!parsed.success)
      throw convertError("OPSWAP_E_STALE", `${file} is not a journal that this version wrote`);
    lines.push(parsed.data);
  }
  return lines;
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function checkSame(head: Line, first: Omit<Begin, "kind">): void {
  if (head.kind !== "begin" || head.fingerprint !== first.fingerprint)
    throw convertError("OPSWAP_E_STALE", "the unfinished output is of another source, or of other options");
  const changed = Object.entries(first.modified).find(([name, time]) => head.modified[name] !== time);
  if (changed !== undefined)
    throw convertError("OPSWAP_E_SOURCE_CHANGED", `${changed[0]} was written to since the conversion began`);
}
