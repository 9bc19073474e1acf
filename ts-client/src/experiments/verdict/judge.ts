/** The verdict of an experiment, from its spec and its samples alone: the same of the same, to the bit. */

import type { SampleLine } from "../samples.js";
import type { ExperimentSpec } from "../spec/experiment.js";
import { Bucket, type BucketVerdict, type Result } from "./bucket.js";

/** What is said of the whole, and of each bucket in order of its first sample. */
export interface Judgement {
  result: Result;
  reason: string;
  /** Records that were overwritten before they were read. */
  lost: number;
  buckets: BucketVerdict[];
}

/** Takes samples as they come; a verdict may be asked for after each. */
export class Judge {
  readonly #spec: ExperimentSpec;
  readonly #buckets = new Map<string, Bucket>();
  /** Last sequence number of each rank. */
  readonly #last = new Map<number, number>();
  #lost = 0;

  constructor(spec: ExperimentSpec) {
    this.#spec = spec;
  }

  add(line: SampleLine): void {
    let bucket = this.#buckets.get(line.bucket);
    if (bucket === undefined) {
      bucket = new Bucket(line.bucket, this.#spec, this.#buckets.size + 1);
      this.#buckets.set(line.bucket, bucket);
    }
    if (line.kind === "sample") this.#countLost(line.rank, line.sequence);
    bucket.add(line);
  }

  judgement(): Judgement {
    const seen = [...this.#buckets.values()].map((bucket) => bucket.verdict());
    const missing = this.#spec.buckets.filter((name) => !this.#buckets.has(name)).map(withoutData);
    const buckets = [...seen, ...missing];
    return { ...overall(buckets, this.#spec), lost: this.#lost, buckets };
  }

  #countLost(rank: number, sequence: number): void {
    const last = this.#last.get(rank);
    if (last !== undefined && sequence > last + 1) this.#lost += sequence - last - 1;
    this.#last.set(rank, sequence);
  }
}

/** The judgement of a whole stream. */
export function judge(spec: ExperimentSpec, lines: Iterable<SampleLine>): Judgement {
  const all = new Judge(spec);
  for (const line of lines) all.add(line);
  return all.judgement();
}

type Overall = Pick<Judgement, "result" | "reason">;

/** One failing bucket fails all; a pass needs every bucket that the spec names, and of the others as many as hold `coverage` of the samples. */
function overall(buckets: readonly BucketVerdict[], spec: ExperimentSpec): Overall {
  const of = (result: Result) => buckets.filter((bucket) => bucket.result === result);
  const [failed] = of("fail");
  if (failed) return { result: "fail", reason: `${failed.bucket}: ${failed.gate}: ${failed.reason}` };
  if (of("no-data").length === buckets.length) return { result: "no-data", reason: "no call was sampled" };
  const open = [...of("no-data"), ...of("inconclusive")];
  const passed = of("pass");
  const isNamed = ({ bucket }: BucketVerdict) => spec.buckets.includes(bucket);
  const needed = open.find(isNamed) ?? open[0];
  if (needed === undefined)
    return { result: "pass", reason: `every gate passed in ${buckets.length} buckets` };
  const covered = samplesOf(passed) / samplesOf(buckets);
  if (isNamed(needed) || passed.length === 0 || covered < spec.analysis.coverage)
    return { result: "inconclusive", reason: `${needed.bucket}: ${needed.reason}` };
  const share = `${(100 * covered).toFixed(2)}% of the samples`;
  return {
    result: "pass",
    reason: `every gate passed in ${passed.length} buckets, with ${share}; undecided: ${open.map(({ bucket }) => bucket).join(", ")}`,
  };
}

const samplesOf = (buckets: readonly BucketVerdict[]) =>
  buckets.reduce((sum, { samples }) => sum + samples, 0);

function withoutData(bucket: string): BucketVerdict {
  const none = { alpha: null, worst: null, floor: null, latency: null, guards: [] };
  const counts = { samples: 0, control_failed: 0, compared: 0, beyond: 0 };
  return { bucket, result: "no-data", gate: null, reason: "no call was sampled", ...counts, ...none };
}
