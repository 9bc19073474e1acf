/** The confidence sequence: how far a running mean may be from the truth, at every look at once. */

/** The number of blocks at which the bounds are at their narrowest; they hold at every other number too. */
const TUNED_FOR_BLOCKS = 1000;

/**
 * Half-width, on one side, of the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform
 * central limit theory and asymptotic confidence sequences" (Annals of Statistics 2024, arXiv 2103.06476), for
 * the mean of `n` observations of long-run variance `variance`: the truth leaves it at any look with probability `alpha`.
 *
 *     sqrt( variance * 2 (n r + 1) / (n^2 r) * ln( 1 + sqrt(n r + 1) / (2 alpha) ) )
 *
 * r is fixed beforehand, so that it is narrowest at TUNED_FOR_BLOCKS.
 */
export function halfWidth(n: number, variance: number, alpha: number): number {
  const spent = -2 * Math.log(alpha);
  const r = (spent + Math.log(1 + spent)) / TUNED_FOR_BLOCKS;
  const scaled = n * r + 1;
  return Math.sqrt(((variance * 2 * scaled) / (n * n * r)) * Math.log(1 + Math.sqrt(scaled) / (2 * alpha)));
}

/** What of a bucket's alpha each part of its latency may spend: the mean on each side, the guards of quantiles together, the later windows together. */
export const SHARE_OF = { mean: 1 / 2, guards: 1 / 4, windows: 1 / 4 } as const;

/**
 * What the k-th bucket of an experiment, in order of its first sample, may spend of the experiment's alpha: alpha / (k (k + 1)). However
 * many buckets appear, the parts add up to less than alpha. Windows of one bucket share its part in the same way.
 */
export function alphaOfBucket(alpha: number, k: number): number {
  return alpha / (k * (k + 1));
}
