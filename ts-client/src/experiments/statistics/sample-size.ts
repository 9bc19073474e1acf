/** How many samples an experiment needs, and what the smallest slowdown is that it finds. */
import { halfWidth, SHARE_OF } from "./confidence-sequence.js";
import { FIRST_LOOK } from "./running-bounds.js";

/** The normal quantile of 90%, the share of experiments that find what they should. */
const POWER = 1.2815515655446004;
const MOST_BLOCKS = 2 ** 30;

/** What one bucket's plan follows from; `spread` is that of a block, of ln(candidate / control). */
export interface BucketPlan {
  alpha: number;
  spread: number;
  warmup: number;
}

/** The smallest distance from the margin, in ln(candidate / control), that `samples` show in nine of ten experiments. */
export function detectable(plan: BucketPlan, samples: number): number | undefined {
  const blocks = Math.floor((samples - plan.warmup) / 2);
  return blocks < FIRST_LOOK ? undefined : needed(plan, blocks);
}

/** The least number of samples that show this distance from the margin in nine of ten experiments; undefined where a billion do not. */
export function samplesFor(plan: BucketPlan, distance: number): number | undefined {
  if (!(needed(plan, MOST_BLOCKS) <= distance)) return undefined;
  let [few, enough] = [FIRST_LOOK - 1, MOST_BLOCKS];
  while (enough - few > 1) {
    const middle = Math.floor((few + enough) / 2);
    if (needed(plan, middle) <= distance) enough = middle;
    else few = middle;
  }
  return plan.warmup + 2 * enough;
}

function needed({ alpha, spread }: BucketPlan, blocks: number): number {
  return halfWidth(blocks, spread * spread, alpha * SHARE_OF.mean) + (POWER * spread) / Math.sqrt(blocks);
}

/** The spread that Latency reports of independent samples is larger than theirs by this, on average: the price of its caution. */
const CAUTION = 1.15;

/** The spread of a block, as Latency would report it, of two samples that do not depend on each other and each have this spread. */
export function blockSpread(pairedSpread: number): number {
  return (CAUTION * pairedSpread) / Math.SQRT2;
}
