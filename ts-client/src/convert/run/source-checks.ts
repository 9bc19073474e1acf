/** Checks a source against the digests that came with it, while it is converted. */
import type { Plan, PlannedFile } from "../plan/types.js";
import { checkDigest, type ExpectedDigest, expectedDigests } from "../source/checksums.js";
import type { Emit } from "./events.js";
import type { Journal } from "./journal.js";

/** Compares sources with the digests that came with them while they are converted. */
export class SourceChecks {
  readonly #journal: Journal;
  readonly #expected: ReadonlyMap<string, ExpectedDigest>;
  /** The tensor that is read first of each source file: only one part of many has it. */
  readonly #first = new Map<string, string>();

  constructor(plan: Plan, journal: Journal, wanted: boolean) {
    this.#journal = journal;
    this.#expected = wanted ? expectedDigests(plan.source) : new Map();
    if (this.#expected.size === 0) return;
    for (const { name, from } of plan.files.flatMap((file) => file.tensors))
      if (!this.#first.has(from.path)) this.#first.set(from.path, name);
  }

  /** Those of which this file has the first tensor. */
  async of(file: PlannedFile, stop: AbortSignal, emit: Emit): Promise<void> {
    for (const { name, from } of file.tensors) {
      const expected = this.#expected.get(from.path);
      const ours = this.#first.get(from.path) === name;
      if (expected === undefined || !ours || this.#journal.checked.has(from.name)) continue;
      await checkDigest(from, expected, stop);
      this.#journal.addChecked(from.name);
      emit({ event: "checked", file: from.name, ...expected });
    }
  }
}
