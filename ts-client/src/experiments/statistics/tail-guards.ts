/** Guards of single quantiles: whether a candidate is beyond control's p50, p95, p99 or p99.9 more often than control itself. */

export const QUANTILES = { p50: 0.5, p95: 0.95, p99: 0.99, p999: 0.999 } as const;
export type QuantileName = keyof typeof QUANTILES;
/** How much further than control's quantile the candidate's times may lie, as a factor above 1. */
export type Allowances = Readonly<Record<QuantileName, number>>;

/** Control's times from which the first thresholds are taken; they are taken anew each time there are twice as many. */
export const FIRST_TIMES = 200;
/** So many are kept at most; thresholds stay what they are then. */
const MOST_TIMES = 25_600;

/** What is said of one quantile. */
export interface Guard {
  quantile: QuantileName;
  /** Control's quantile, ns; null before there are enough times. */
  threshold_ns: number | null;
  /** Calls in which the candidate alone was beyond its threshold, and in which control alone was. */
  candidate_beyond: number;
  control_beyond: number;
  failed: boolean;
}

/** How many of the times that equal a threshold count as beyond it, so that as many are beyond as the quantile says: clocks tick coarsely. */
interface Ties {
  share: number;
  owed: number;
}

/**
 * Pairs of times of one bucket. If on every call the candidate is beyond `allowed` times a threshold at most as probably as control is beyond
 * the threshold, then of the calls in which one alone is, at most every second is the candidate's. Against that
 * a wager on all shares above a half at once is a supermartingale, of which Ville's inequality bounds how far it ever gets.
 * Thresholds come from earlier calls alone, so they may be any.
 */
export class TailGuards {
  readonly #limit: number;
  readonly #allowances: Allowances;
  readonly #guards: Guard[];
  readonly #ties: Ties[];
  #control: number[] = [];
  #nextLook = FIRST_TIMES;

  /** @param alpha of each quantile: the chance that it fails without a fault, at any look */
  constructor(alpha: number, allowances: Allowances) {
    this.#limit = 1 / alpha;
    this.#allowances = allowances;
    this.#guards = (Object.keys(QUANTILES) as QuantileName[]).map((quantile) => ({
      quantile,
      threshold_ns: null,
      candidate_beyond: 0,
      control_beyond: 0,
      failed: false,
    }));
    this.#ties = this.#guards.map(() => ({ share: 0, owed: 0 }));
  }

  add(control_ns: number, candidate_ns: number): void {
    for (const [i, guard] of this.#guards.entries())
      this.#count(guard, this.#ties[i] as Ties, control_ns, candidate_ns);
    if (this.#nextLook > MOST_TIMES) return;
    this.#control.push(control_ns);
    if (this.#control.length === this.#nextLook) this.#look();
  }

  all(): readonly Guard[] {
    return this.#guards;
  }

  #count(guard: Guard, ties: Ties, control_ns: number, candidate_ns: number): void {
    if (guard.threshold_ns === null || guard.failed) return;
    const isControl = control_ns > guard.threshold_ns || (control_ns === guard.threshold_ns && isTurn(ties));
    const isCandidate = candidate_ns > guard.threshold_ns * this.#allowances[guard.quantile];
    if (isControl === isCandidate) return;
    if (isControl) guard.control_beyond++;
    else guard.candidate_beyond++;
    guard.failed = wager(guard.candidate_beyond, guard.control_beyond) >= this.#limit;
  }

  #look(): void {
    const sorted = this.#control.toSorted((a, b) => a - b);
    for (const [i, guard] of this.#guards.entries()) {
      if (guard.failed) continue;
      const threshold = sorted[Math.floor(QUANTILES[guard.quantile] * sorted.length)] as number;
      guard.threshold_ns = threshold;
      this.#ties[i] = tiesAt(sorted, threshold, QUANTILES[guard.quantile]);
    }
    this.#nextLook *= 2;
    if (this.#nextLook > MOST_TIMES) this.#control = [];
  }
}

function tiesAt(sorted: readonly number[], threshold: number, quantile: number): Ties {
  const above = sorted.filter((time) => time > threshold).length;
  const equal = sorted.filter((time) => time === threshold).length;
  return { share: Math.min(((1 - quantile) * sorted.length - above) / equal, 1), owed: 0 };
}

/** Whether this tie counts; as many do, spread evenly, as their share says. */
function isTurn(ties: Ties): boolean {
  ties.owed += ties.share;
  if (ties.owed < 1) return false;
  ties.owed--;
  return true;
}

/**
 * What one unit has become that was laid on `wins` of `wins + losses` throws, spread evenly over all probabilities of a win from 1/2 to 1:
 * the integral of 2 (2p)^wins (2 - 2p)^losses, which is the sum over j = 0 ... wins of C(n + 1, j) / ((n + 1) C(n, wins)), n = wins + losses.
 */
export function wager(wins: number, losses: number): number {
  const n = wins + losses;
  let term = 1 / (n + 1 - wins);
  let sum = 0;
  for (let j = wins; j >= 0 && term > sum * Number.EPSILON; j--) {
    sum += term;
    term *= j / (n + 2 - j);
  }
  return sum;
}
