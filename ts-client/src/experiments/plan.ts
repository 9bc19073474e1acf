/** What an experiment will sample, and what that can show: before it starts, from a spread that was measured or is assumed. */
import { readSamples } from "./samples.js";
import type { ExperimentSpec } from "./spec/experiment.js";
import { alphaOfBucket } from "./statistics/confidence-sequence.js";
import { blockSpread, detectable, samplesFor } from "./statistics/sample-size.js";
import { Judge } from "./verdict/judge.js";

/** Slowdowns beyond the margin for which a plan says how many samples show them. */
const SLOWDOWNS = [0.02, 0.03, 0.05, 0.1];

/** A spread of ln(candidate / control), of a block as Latency reports it, and where it is from. */
export interface Spread {
  bucket: string;
  /** In order of the buckets' first samples, from 1. */
  place: number;
  spread: number;
  isMeasured: boolean;
}

/** One bucket's plan. Numbers of samples are undefined where no reasonable number is enough. */
export interface BucketForecast extends Spread {
  /** What may be spent in its place. */
  alpha: number;
  /** How much slower a candidate is that most_of_bucket samples show nine times of ten. */
  detectable: number | undefined;
  /** Samples after which an equal candidate passes nine times of ten. */
  toPass: number | undefined;
  slowdowns: { slowdown: number; samples: number | undefined }[];
}

/** A spread that nobody measured: for one bucket, in the first place and, to show the price of many, in the fiftieth. */
export function assumedSpreads(paired: number): Spread[] {
  return [1, 50].map((place) => ({
    bucket: `the bucket in place ${place}`,
    place,
    spread: blockSpread(paired),
    isMeasured: false,
  }));
}

/** Spreads of an earlier run or an A/A of the same op, bucket by bucket; those with too few samples have none. */
export function measuredSpreads(spec: ExperimentSpec, samplesFile: string): Spread[] {
  const judge = new Judge(spec);
  for (const line of readSamples(samplesFile).lines) judge.add(line);
  return judge
    .judgement()
    .buckets.flatMap(({ bucket, latency }, i) =>
      latency === null ? [] : [{ bucket, place: i + 1, spread: latency.spread, isMeasured: true }],
    );
}

/** What follows for each spread. */
export function forecast(spec: ExperimentSpec, spreads: readonly Spread[]): BucketForecast[] {
  const margin = spec.analysis.metrics.find(({ name }) => name === "latency")?.non_inferior;
  if (margin === undefined) return [];
  return spreads.map((one) => {
    const alpha = alphaOfBucket(spec.analysis.alpha, one.place);
    const plan = { alpha, spread: one.spread, warmup: spec.sampling.warmup };
    const beyond = detectable(plan, spec.sampling.most_of_bucket);
    return {
      ...one,
      alpha,
      detectable: beyond === undefined ? undefined : Math.expm1(Math.log1p(margin) + beyond),
      toPass: samplesFor(plan, Math.log1p(margin)),
      slowdowns: SLOWDOWNS.filter((slowdown) => slowdown > margin).map((slowdown) => ({
        slowdown,
        samples: samplesFor(plan, Math.log1p(slowdown) - Math.log1p(margin)),
      })),
    };
  });
}
