/** A running mean with bounds that hold at every look. */
import { BatchMeans } from "./batch-means.js";
import { halfWidth } from "./confidence-sequence.js";

/** Observations before the first look. */
export const FIRST_LOOK = 100;
/** Looks are this many observations apart. */
const LOOK_EVERY = 10;

/** Takes observations one by one; bounds of all looks hold together, so the narrowest of each side counts. */
export class RunningBounds {
  readonly #alpha: number;
  readonly #batches = new BatchMeans();
  #sum = 0;
  count = 0;
  lower = Number.NEGATIVE_INFINITY;
  upper = Number.POSITIVE_INFINITY;

  /** @param alpha of each side */
  constructor(alpha: number) {
    this.#alpha = alpha;
  }

  add(value: number): void {
    this.count++;
    this.#sum += value;
    this.#batches.add(value);
    if (this.count >= FIRST_LOOK && this.count % LOOK_EVERY === 0) this.#look();
  }

  mean(): number {
    return this.#sum / this.count;
  }

  /** Undefined where there are too few observations. */
  variance(): number | undefined {
    return this.#batches.longRunVariance();
  }

  #look(): void {
    const variance = this.variance();
    if (variance === undefined) return;
    const half = halfWidth(this.count, variance, this.#alpha);
    this.lower = Math.max(this.lower, this.mean() - half);
    this.upper = Math.min(this.upper, this.mean() + half);
  }
}
