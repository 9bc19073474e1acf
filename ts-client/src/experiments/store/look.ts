/** A look at a run, as much of it as the store keeps. */
import type { RankShadow } from "../../generated/messages.js";
import type { Look } from "../live/run-experiment.js";
import type { Coverage, RunLook } from "./runs.js";

export function lookOf({ elapsedMs, samples, lastStep, judgement }: Look): RunLook {
  const buckets = judgement.buckets.map(({ bucket, result, gate, reason, alpha, samples, latency }) => ({
    ...{ bucket, result, gate, reason, alpha, samples },
    // Before the first look the bounds are infinite, which JSON has no number for.
    latency:
      latency !== null && Number.isFinite(latency.lower) && Number.isFinite(latency.upper) ? latency : null,
  }));
  const { result, reason, lost } = judgement;
  const time = new Date().toISOString();
  return { time, elapsed_ms: elapsedMs, samples, last_step: lastStep, result, reason, lost, buckets };
}

/** Sums over ranks; the shadow's time is that of the rank where it took most. */
export function coverageOf(ranks: readonly RankShadow[]): Coverage {
  const buckets = new Map<string, { bucket: string; seen: number; chosen: number }>();
  const left_out: Record<string, number> = {};
  for (const rank of ranks) {
    for (const { bucket, seen, chosen } of rank.buckets) {
      const sum = buckets.get(bucket) ?? { bucket, seen: 0, chosen: 0 };
      buckets.set(bucket, { bucket, seen: sum.seen + seen, chosen: sum.chosen + chosen });
    }
    for (const [why, calls] of Object.entries(rank.left_out)) left_out[why] = (left_out[why] ?? 0) + calls;
  }
  const took_ms = Math.max(0, ...ranks.map(({ took_ns }) => took_ns / 1e6));
  return { took_ms, buckets: [...buckets.values()], left_out };
}
