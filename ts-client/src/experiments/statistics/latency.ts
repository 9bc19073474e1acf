/** How much slower a candidate is than control in one bucket: an estimate with bounds that hold at every look. */
import { BatchMeans } from "./batch-means.js";
import { halfWidth } from "./confidence-sequence.js";
import { median } from "./median.js";

/** Blocks before the first look; their median and spread say from where on a time is an outlier. */
export const FIRST_LOOK = 100;
/** Looks are this many blocks apart. */
export const LOOK_EVERY = 10;
/** Values further from the median than so many standard deviations, of a normal series with this spread, are drawn in. */
const OUTLIER = 6;
const NORMAL_OF_MAD = 1.4826;

/** The times of one chosen call, in ns, and which of the two ran first. */
export interface PairedTimes {
  control_ns: number;
  candidate_ns: number;
  candidate_first: boolean;
}

/** Of ln(candidate / control): 0 is equal, 0.01 is 1% slower. */
export interface LatencyBounds {
  /** Pairs of one sample of each order. */
  blocks: number;
  /** Samples whose partner of the other order has not come. */
  unpaired: number;
  mean: number;
  /** Standard deviation of a block, as if blocks did not depend on each other. */
  spread: number;
  /** The truth is above the lower and below the upper one, each with probability 1 - alpha at all looks together. */
  lower: number;
  upper: number;
  /** How much a kernel gains by being second. */
  order: number;
}

/**
 * One bucket's times. A sample of each order makes a block, whose mean has no share in what the order does; blocks in a row
 * depend on each other, which the variance counts in.
 */
export class Latency {
  readonly #alpha: number;
  #warmup: number;
  /** Samples that wait for one of the other order: control first, candidate first. */
  readonly #waiting: readonly [number[], number[]] = [[], []];
  #early: number[] = [];
  #center = 0;
  #reach = Number.POSITIVE_INFINITY;
  readonly #batches = new BatchMeans();
  #blocks = 0;
  #sum = 0;
  #order = 0;
  #lower = Number.NEGATIVE_INFINITY;
  #upper = Number.POSITIVE_INFINITY;

  /** @param warmup samples that are discarded at the beginning */
  constructor(alpha: number, warmup: number) {
    this.#alpha = alpha;
    this.#warmup = warmup;
  }

  add({ control_ns, candidate_ns, candidate_first }: PairedTimes): void {
    if (this.#warmup > 0) {
      this.#warmup--;
      return;
    }
    const value = Math.log(candidate_ns / control_ns);
    const [mine, other] = candidate_first ? [1, 0] : [0, 1];
    const partner = this.#waiting[other as 0 | 1].shift();
    if (partner === undefined) this.#waiting[mine as 0 | 1].push(value);
    else this.#addBlock((value + partner) / 2, (candidate_first ? value - partner : partner - value) / 2);
  }

  /** Undefined before the first look. */
  bounds(): LatencyBounds | undefined {
    const variance = this.#batches.longRunVariance();
    if (this.#blocks < FIRST_LOOK || variance === undefined) return undefined;
    return {
      blocks: this.#blocks,
      unpaired: this.#waiting[0].length + this.#waiting[1].length,
      mean: this.#mean(),
      spread: Math.sqrt(variance),
      lower: this.#lower,
      upper: this.#upper,
      order: this.#order / this.#blocks,
    };
  }

  #mean(): number {
    return this.#center + this.#sum / this.#blocks;
  }

  #addBlock(value: number, order: number): void {
    this.#blocks++;
    this.#order += order;
    if (this.#blocks > FIRST_LOOK) this.#count(value);
    else this.#early.push(value);
    if (this.#blocks === FIRST_LOOK) this.#begin();
    if (this.#blocks >= FIRST_LOOK && this.#blocks % LOOK_EVERY === 0) this.#look();
  }

  /** Fixes from the early blocks what an outlier is, so that no later value has a say in it. */
  #begin(): void {
    this.#center = median(this.#early);
    const deviation = median(this.#early.map((value) => Math.abs(value - this.#center)));
    if (deviation > 0) this.#reach = OUTLIER * NORMAL_OF_MAD * deviation;
    for (const value of this.#early) this.#count(value);
    this.#early = [];
  }

  #count(value: number): void {
    const from = Math.min(Math.max(value - this.#center, -this.#reach), this.#reach);
    this.#sum += from;
    this.#batches.add(from);
  }

  /** Bounds of all looks hold together, so the narrowest of each side counts. */
  #look(): void {
    const variance = this.#batches.longRunVariance();
    if (variance === undefined) return;
    const half = halfWidth(this.#blocks, variance, this.#alpha);
    this.#lower = Math.max(this.#lower, this.#mean() - half);
    this.#upper = Math.min(this.#upper, this.#mean() + half);
  }
}
