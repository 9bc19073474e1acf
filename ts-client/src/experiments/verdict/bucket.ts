/** One bucket's part of a verdict: gates in order, the first that decides has the last word. */

import type { Sample, SampleLine } from "../samples.js";
import type { ExperimentSpec, MetricName } from "../spec/experiment.js";
import { alphaOfBucket } from "../statistics/confidence-sequence.js";
import { Latency, type LatencyBounds } from "../statistics/latency.js";
import type { Allowances, Guard } from "../statistics/tail-guards.js";
import { Gates } from "./gates.js";

/** Outputs that must have been compared before numerics can pass. */
const LEAST_COMPARED = 100;

export const RESULTS = ["pass", "fail", "inconclusive", "no-data"] as const;
export type Result = (typeof RESULTS)[number];

/** What is said of one bucket; one without samples has no numbers. */
export interface BucketVerdict {
  bucket: string;
  result: Result;
  /** The gate that decided, or the first that has not yet. */
  gate: MetricName | null;
  reason: string;
  /** What it spends of the experiment's alpha; null where it has no samples. */
  alpha: number | null;
  samples: number;
  control_failed: number;
  compared: number;
  beyond: number;
  worst: number | null;
  floor: number | null;
  latency: LatencyBounds | null;
  /** Of single quantiles; empty where latency is not judged. */
  guards: readonly Guard[];
}

/** Takes a bucket's lines one by one, and says at any time what follows from them. */
export class Bucket {
  readonly #name: string;
  readonly #spec: ExperimentSpec;
  readonly #alpha: number;
  readonly #gates = new Gates();
  readonly #latency: Latency;
  #samples = 0;

  /** @param place in order of the buckets' first lines, from 1 */
  constructor(name: string, spec: ExperimentSpec, place: number) {
    this.#name = name;
    this.#spec = spec;
    this.#alpha = alphaOfBucket(spec.analysis.alpha, place);
    this.#latency = new Latency(this.#alpha, spec.sampling.warmup, allowances(spec));
  }

  add(line: SampleLine): void {
    if (line.kind === "event") this.#gates.event(line);
    else if (line.kind === "reference") this.#gates.reference(line);
    else this.#sample(line);
  }

  verdict(): BucketVerdict {
    const gates = this.#gates;
    const latency = this.#latency.bounds();
    return {
      bucket: this.#name,
      ...this.#decided(latency),
      alpha: this.#alpha,
      samples: this.#samples,
      control_failed: gates.controlFailed,
      compared: gates.compared,
      beyond: gates.failures,
      worst: finite(gates.worst),
      floor: finite(gates.floor),
      latency: latency === undefined ? null : { ...latency },
      guards: this.#latency.guards().map((guard) => ({ ...guard })),
    };
  }

  #sample(line: Sample): void {
    this.#samples++;
    const ranWell = this.#gates.sample(line);
    // A clock that shows no time at all has no logarithm.
    if (ranWell && line.control_ns > 0 && line.candidate_ns > 0) this.#latency.add(line);
  }

  #decided(latency: LatencyBounds | undefined): Pick<BucketVerdict, "result" | "gate" | "reason"> {
    let open: { gate: MetricName; reason: string } | undefined;
    for (const { name, failureLimit, non_inferior } of inOrder(this.#spec)) {
      const [result, reason] =
        name === "safety"
          ? this.#safety()
          : name === "numerics"
            ? this.#numerics(failureLimit)
            : timely(latency, this.#latency.guards(), Math.log1p(non_inferior));
      if (result === "fail") return { result, gate: name, reason };
      if (result === "inconclusive") open ??= { gate: name, reason };
    }
    if (open) return { result: "inconclusive", ...open };
    return { result: "pass", gate: null, reason: "every gate passed" };
  }

  #safety(): [Result, string] {
    const { unsafe } = this.#gates;
    if (unsafe !== undefined) return ["fail", unsafe];
    return this.#samples > 0 ? ["pass", ""] : ["inconclusive", "no call was sampled"];
  }

  #numerics(failureLimit: number): [Result, string] {
    const { failures, firstBeyond, compared, controlWrong } = this.#gates;
    if (failures > failureLimit) return ["fail", `${failures} samples beyond the tolerance; ${firstBeyond}`];
    if (controlWrong)
      return ["inconclusive", "control itself is beyond the tolerance of the float64 reference"];
    if (compared < LEAST_COMPARED)
      return ["inconclusive", `${compared} outputs compared, ${LEAST_COMPARED} are needed`];
    return ["pass", ""];
  }
}

/** Gates in the order in which they stand here, whatever order a file has. */
function inOrder(spec: ExperimentSpec) {
  const { metrics } = spec.analysis;
  const place = { safety: 0, numerics: 1, latency: 2 };
  return [...metrics].sort((a, b) => place[a.name] - place[b.name]);
}

/** What may lie between control's quantile and the candidate's: the margin of the mean, and beyond it the guard's own. */
function allowances({ analysis }: ExperimentSpec): Allowances | undefined {
  const latency = analysis.metrics.find(({ name }) => name === "latency");
  if (latency === undefined) return undefined;
  const { non_inferior, p50, p95, p99, p999 } = latency;
  const factor = (more: number) => (1 + non_inferior) * (1 + more);
  return { p50: factor(p50), p95: factor(p95), p99: factor(p99), p999: factor(p999) };
}

/** Guards and later windows only fail: a pass is the mean's. */
function timely(
  latency: LatencyBounds | undefined,
  guards: readonly Guard[],
  margin: number,
): [Result, string] {
  const broken = guards.find(({ failed }) => failed);
  if (broken && !(latency && latency.lower > margin)) return ["fail", beyondQuantile(broken)];
  if (latency === undefined) return ["inconclusive", "too few times of both orders"];
  const { lower, upper, late } = latency;
  if (lower > margin) return ["fail", `slower by at least ${percent(lower)}`];
  if (late !== null && late > margin) return ["fail", `it became slower, by at least ${percent(late)}`];
  if (upper < margin) return ["pass", ""];
  return ["inconclusive", `between ${percent(lower)} and ${percent(upper)}`];
}

function beyondQuantile({ quantile, threshold_ns, candidate_beyond, control_beyond }: Guard): string {
  const allowed = `control's ${quantile} of ${threshold_ns} ns and what is allowed beyond it`;
  return `${quantile}: slower than ${allowed} in ${candidate_beyond} calls in which control was not, against ${control_beyond} of control's own`;
}

/** ln(candidate / control) as what the candidate takes more. */
const percent = (log: number) => `${(100 * Math.expm1(log)).toFixed(2)}%`;

const finite = (value: number) => (Number.isFinite(value) ? value : null);
