/** Verdicts as traces of FlashInfer-Bench: a Trace for each bucket, in the fields of its schema. */
import { OK, readSamples, type Sample } from "./samples.js";
import type { ExperimentSpec } from "./spec/experiment.js";
import { median } from "./statistics/median.js";
import { type StoredVerdict, samplesOf } from "./verdict/store.js";

/** Its status says whether results are right; how fast they came is in `performance`, and opswap's own verdict in `extra`. */
const STATUS: Readonly<Record<string, string>> = { safety: "RUNTIME_ERROR", numerics: "INCORRECT_NUMERICAL" };

/** One Trace for each bucket of a verdict, whose samples lie in `place`. */
export function traces(
  spec: ExperimentSpec,
  verdict: StoredVerdict,
  place: string,
  timestamp: string,
): unknown[] {
  const seen = new Map<string, Sample[]>();
  for (const line of readSamples(samplesOf(place)).lines)
    if (line.kind === "sample") seen.set(line.bucket, [...(seen.get(line.bucket) ?? []), line]);
  const { device, model, build } = verdict.samples;
  const environment = { hardware: device ?? "", libs: { opswap: build, model: model ?? "" } };
  return verdict.buckets.map((one) => ({
    definition: spec.op,
    workload: { uuid: `${verdict.id}:${one.bucket}`, axes: axesOf(one.bucket), inputs: {} },
    solution: `${spec.op}:${spec.candidate}`,
    evaluation: {
      status: (one.result === "fail" && STATUS[one.gate ?? ""]) || "PASSED",
      log: one.reason,
      ...measured(seen.get(one.bucket) ?? []),
      environment,
      timestamp,
    },
    extra: { verdict: verdict.id, ...one, reference: `${spec.op}:${spec.control}` },
  }));
}

/** "T16 H1024 bfloat16" as {T: 16, H: 1024}. */
function axesOf(bucket: string): Record<string, number> {
  const words = [...bucket.matchAll(/([A-Za-z_]+)(\d+)(?= )/g)];
  return Object.fromEntries(words.map(([, axis, size]) => [axis, Number(size)]));
}

/** Medians of both arms, and the largest difference; the relative error is not recorded, what the tolerance allows of it is. */
function measured(samples: readonly Sample[]) {
  const ran = samples.filter((one) => one.control_status === OK && one.candidate_status === OK);
  if (ran.length === 0) return {};
  const latency = (arm: "control_ns" | "candidate_ns") => median(ran.map((one) => one[arm])) / 1e6;
  const [reference_latency_ms, latency_ms] = [latency("control_ns"), latency("candidate_ns")];
  const largest = (of: "max_abs" | "worst") =>
    ran.reduce((most, one) => Math.max(most, one[of] ?? Number.MAX_VALUE), 0);
  return {
    correctness: {
      max_absolute_error: largest("max_abs"),
      extra: { worst_over_tolerance: largest("worst") },
    },
    performance: { latency_ms, reference_latency_ms, speedup_factor: reference_latency_ms / latency_ms },
  };
}
