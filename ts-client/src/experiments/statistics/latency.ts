/** How much slower a candidate is than control in one bucket: an estimate with bounds that hold at every look, and guards of quantiles. */
import { alphaOfBucket, SHARE_OF } from "./confidence-sequence.js";
import { median } from "./median.js";
import { FIRST_LOOK, RunningBounds } from "./running-bounds.js";
import { type Allowances, type Guard, QUANTILES, TailGuards } from "./tail-guards.js";

/** Values further from the median than so many standard deviations, of a normal series with this spread, are drawn in. */
const OUTLIER = 6;
const NORMAL_OF_MAD = 1.4826;
/** From here on each window of so many blocks is looked at by itself as well. */
export const WINDOW = 1000;

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
  /** The highest lower bound of a later window, null before there is one: a candidate that became slow. */
  late: number | null;
  /** How much a kernel gains by being second. */
  order: number;
}

/**
 * One bucket's times. A sample of each order makes a block, whose mean has no share in what the order does; blocks in a row
 * depend on each other, which the variance counts in.
 */
export class Latency {
  readonly #alpha: number;
  readonly #guards: TailGuards | undefined;
  #warmup: number;
  /** Samples that wait for one of the other order: control first, candidate first. */
  readonly #waiting: readonly [PairedTimes[], PairedTimes[]] = [[], []];
  #early: number[] = [];
  #center = 0;
  #reach = Number.POSITIVE_INFINITY;
  readonly #whole: RunningBounds;
  #window: RunningBounds | undefined;
  #windows = 0;
  #late = Number.NEGATIVE_INFINITY;
  #blocks = 0;
  #order = 0;

  /** @param alpha of the bucket @param warmup samples that are discarded at the beginning @param allowances of the guards, where there are any */
  constructor(alpha: number, warmup: number, allowances?: Allowances) {
    this.#alpha = alpha;
    this.#warmup = warmup;
    this.#whole = new RunningBounds(alpha * SHARE_OF.mean);
    const each = (alpha * SHARE_OF.guards) / Object.keys(QUANTILES).length;
    this.#guards = allowances && new TailGuards(each, allowances);
  }

  add(times: PairedTimes): void {
    if (this.#warmup > 0) {
      this.#warmup--;
      return;
    }
    const [mine, other] = times.candidate_first ? [1, 0] : [0, 1];
    const partner = this.#waiting[other as 0 | 1].shift();
    if (partner === undefined) this.#waiting[mine as 0 | 1].push(times);
    else this.#pair(partner, times);
  }

  /** Undefined before the first look. */
  bounds(): LatencyBounds | undefined {
    const variance = this.#whole.variance();
    if (this.#blocks < FIRST_LOOK || variance === undefined) return undefined;
    return {
      blocks: this.#blocks,
      unpaired: this.#waiting[0].length + this.#waiting[1].length,
      mean: this.#center + this.#whole.mean(),
      spread: Math.sqrt(variance),
      lower: this.#center + this.#whole.lower,
      upper: this.#center + this.#whole.upper,
      late: Number.isFinite(this.#late) ? this.#center + this.#late : null,
      order: this.#order / this.#blocks,
    };
  }

  /** Of the quantiles; none where none were asked for. */
  guards(): readonly Guard[] {
    return this.#guards?.all() ?? [];
  }

  #pair(earlier: PairedTimes, later: PairedTimes): void {
    const [before, after] = [logRatio(earlier), logRatio(later)];
    this.#addBlock((before + after) / 2, (later.candidate_first ? after - before : before - after) / 2);
    for (const { control_ns, candidate_ns } of [earlier, later]) this.#guards?.add(control_ns, candidate_ns);
  }

  #addBlock(value: number, order: number): void {
    this.#blocks++;
    this.#order += order;
    if (this.#blocks > FIRST_LOOK) this.#count(value);
    else this.#early.push(value);
    if (this.#blocks === FIRST_LOOK) this.#begin();
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
    if (this.#whole.count > 0 && this.#whole.count % WINDOW === 0)
      this.#window = new RunningBounds(alphaOfBucket(this.#alpha * SHARE_OF.windows, ++this.#windows));
    this.#whole.add(from);
    this.#window?.add(from);
    this.#late = Math.max(this.#late, this.#window?.lower ?? this.#late);
  }
}

const logRatio = ({ control_ns, candidate_ns }: PairedTimes) => Math.log(candidate_ns / control_ns);
