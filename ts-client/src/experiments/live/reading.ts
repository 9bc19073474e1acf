/** The samples of one shadow as they are read: into the file of the run, and to its judge. */
import { appendFileSync } from "node:fs";
import type { OpswapClient } from "../../client/types.js";
import type { RankShadow } from "../../generated/messages.js";
import { type SampleLine, sampleOf, sampleText } from "../samples.js";
import type { ExperimentSpec } from "../spec/experiment.js";
import { Judge, type Judgement } from "../verdict/judge.js";
import { unread } from "./unread-records.js";

export class Reading {
  readonly #client: OpswapClient;
  readonly #spec: ExperimentSpec;
  readonly #file: string;
  readonly #judge: Judge;
  /** Last sequence of each rank. */
  readonly #after: number[] = [];
  samples = 0;
  /** Of the latest sample. */
  lastStep = 0;

  constructor(client: OpswapClient, spec: ExperimentSpec, file: string) {
    this.#client = client;
    this.#spec = spec;
    this.#file = file;
    this.#judge = new Judge(spec);
  }

  take(lines: readonly SampleLine[]): void {
    appendFileSync(this.#file, lines.map(sampleText).join(""));
    for (const line of lines) this.#judge.add(line);
  }

  /** All that was recorded when `ranks` was told: what comes while it is read waits, or a busy engine would have this never end. */
  async read(ranks: readonly RankShadow[]): Promise<void> {
    for await (const page of unread(this.#client, this.#spec.op, this.#after)) {
      this.take(page.map(sampleOf));
      this.samples += page.length;
      for (const { step } of page) this.lastStep = Math.max(this.lastStep, step);
      if (ranks.every(({ rank, recorded }) => (this.#after[rank] ?? 0) >= recorded)) break;
    }
  }

  judgement(): Judgement {
    return this.#judge.judgement();
  }
}
