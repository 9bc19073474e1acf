/** The long-run variance of a series whose neighbours depend on each other, from means of batches of 1, 2, 4, ... */

/** A level needs so many batches before its variance counts. */
const LEAST_BATCHES = 16;
/** Beyond this the correction for what is left of dependence would be noise. */
const MOST_CORRELATION = 0.9;

/** Means of 2^k neighbours: their number, mean, squared deviations, and products of neighbours. */
interface Level {
  count: number;
  mean: number;
  squares: number;
  first: number;
  last: number;
  products: number;
  sum: number;
  /** The mean that waits for its partner to make one of the next level. */
  waiting: number | undefined;
}

/**
 * Running sums from which the long-run variance follows: with batches of b, b times the variance of their means grows to it as b grows.
 * The largest of all levels counts, multiplied by (1 + r) / (1 - r), where r is how far neighbours of
 * the coarsest level still depend on each other: what is left after that level, if it falls off as in an AR(1) series.
 */
export class BatchMeans {
  readonly #levels: Level[] = [];

  add(value: number): void {
    let carried: number | undefined = value;
    for (let k = 0; carried !== undefined; k++) {
      this.#levels[k] ??= emptyLevel();
      carried = addTo(this.#levels[k] as Level, carried);
    }
  }

  /** Of one observation; undefined as long as there are too few. */
  longRunVariance(): number | undefined {
    const usable = this.#levels.filter(({ count }) => count >= LEAST_BATCHES);
    const coarsest = usable.at(-1);
    if (coarsest === undefined) return undefined;
    const variances = usable.map(({ squares, count }, k) => (2 ** k * squares) / (count - 1));
    const r = Math.min(Math.max(correlation(coarsest), 0), MOST_CORRELATION);
    return (Math.max(...variances) * (1 + r)) / (1 - r);
  }
}

function emptyLevel(): Level {
  return { count: 0, mean: 0, squares: 0, first: 0, last: 0, products: 0, sum: 0, waiting: undefined };
}

/** Adds a mean to its level; returns one for the next level when its partner was waiting. */
function addTo(level: Level, value: number): number | undefined {
  if (level.count === 0) level.first = value;
  else level.products += level.last * value;
  level.last = value;
  level.sum += value;
  level.count++;
  const from = value - level.mean;
  level.mean += from / level.count;
  level.squares += from * (value - level.mean);
  const { waiting } = level;
  level.waiting = waiting === undefined ? value : undefined;
  return waiting === undefined ? undefined : (waiting + value) / 2;
}

/** Of neighbours, about the mean of all; 0 where nothing varies. */
function correlation({ count, sum, first, last, products, squares }: Level): number {
  const mean = sum / count;
  const about = products - mean * (2 * sum - first - last) + (count - 1) * mean * mean;
  return squares > 0 ? about / squares : 0;
}
