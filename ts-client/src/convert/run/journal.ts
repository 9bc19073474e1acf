/** The journal of a run: which tensors are done, with their digests. */
import { closeSync, existsSync, openSync, statSync, truncateSync, writeSync } from "node:fs";
import { z } from "zod";
import { convertError } from "../errors.js";
import { type TensorReport, tensorReport } from "../report/tensor-report.js";
import { wholeLines } from "../text/text-file.js";
import { lock } from "./staging.js";

const begin = z.object({
  kind: z.literal("begin"),
  fingerprint: z.string(),
  /** Modification times, which tell a source that changed in place. */
  modified: z.record(z.string(), z.string()),
});
const line = z.discriminatedUnion("kind", [
  begin,
  z.object({ kind: z.literal("tensor"), report: tensorReport }),
  z.object({ kind: z.literal("checked"), file: z.string() }),
]);
type Line = z.infer<typeof line>;
export type JournalHeader = Omit<z.infer<typeof begin>, "kind">;

/**
 * A list of what is done, one JSON line each. A line that a kill cut short is as if it had never been. The file is
 * locked while it is open, which a shared file system does between machines as well.
 */
export class Journal {
  readonly done = new Map<string, TensorReport>();
  /** Source files that were compared with digests that came with them. */
  readonly checked = new Set<string>();
  readonly #first: JournalHeader;
  readonly #fds: number[];

  private constructor(fd: number, first: JournalHeader) {
    this.#fds = [fd];
    this.#first = first;
  }

  /** Opens the journal of this conversion, begun or not; refuses that of another. */
  static open(file: string, first: JournalHeader): Journal {
    const fd = openSync(file, "a+");
    lock(fd, file);
    const journal = new Journal(fd, first);
    try {
      const bytes = journal.#take(file);
      if (bytes < statSync(file).size) truncateSync(file, bytes);
      if (bytes === 0) journal.#append({ kind: "begin", ...first });
    } catch (error) {
      journal.close();
      throw error;
    }
    return journal;
  }

  /** Takes over what another journal of this conversion says is done; `locked` refuses one that is being written. */
  adopt(file: string, locked: boolean): void {
    if (!existsSync(file)) return;
    if (locked) {
      const fd = openSync(file, "r+");
      lock(fd, file);
      this.#fds.push(fd);
    }
    this.#take(file);
  }

  add(report: TensorReport): void {
    this.#append({ kind: "tensor", report });
    this.done.set(report.name, report);
  }

  addChecked(file: string): void {
    this.#append({ kind: "checked", file });
    this.checked.add(file);
  }

  close(): void {
    for (const fd of this.#fds.splice(0)) closeSync(fd);
  }

  /** Takes over what a journal says; how many bytes its whole lines have. */
  #take(file: string): number {
    let bytes = 0;
    for (const { text, end } of wholeLines(file)) {
      const one = lineOf(text, file);
      if (bytes === 0) checkSame(one, this.#first);
      bytes = end;
      if (one.kind === "tensor") this.done.set(one.report.name, one.report);
      if (one.kind === "checked") this.checked.add(one.file);
    }
    return bytes;
  }

  #append(one: Line): void {
    writeSync(this.#fds[0] ?? -1, `${JSON.stringify(one)}\n`);
  }
}

function lineOf(text: string, file: string): Line {
  const parsed = line.safeParse(tryJson(text));
  if (parsed.success) return parsed.data;
  throw convertError("OPSWAP_E_STALE", `${file} is not a journal that this version wrote`);
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function checkSame(head: Line, first: JournalHeader): void {
  if (head.kind !== "begin" || head.fingerprint !== first.fingerprint)
    throw convertError("OPSWAP_E_STALE", "the unfinished output is of another source, or of other options");
  const changed = Object.entries(first.modified).find(([name, time]) => head.modified[name] !== time);
  if (changed !== undefined)
    throw convertError("OPSWAP_E_SOURCE_CHANGED", `${changed[0]} was written to since the conversion began`);
}
