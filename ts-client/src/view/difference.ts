/** How far two tensors are apart, for tables of worst elements. */

/** What an output may differ by: beyond atol + rtol * |expected| an element is outside. */
export interface Limits {
  atol: number;
  rtol: number;
}

export interface WorstElement {
  index: number[];
  got: number;
  expected: number;
}

export interface Difference {
  elements: number;
  /** Of another value; NaN is the same as NaN. */
  differing: number;
  /** Beyond the limits, or not finite in another way than what is expected. */
  outside: number;
  maxAbs: number;
  /** Largest difference over what the limits allow there: above 1 is outside, infinite where nothing is allowed. */
  share: number;
  /** The elements that are furthest outside or nearest to it, the worst first. */
  worst: WorstElement[];
}

/** Compares in one pass; keeps the `most` worst elements that differ. */
export function difference(
  got: Float64Array,
  expected: Float64Array,
  shape: readonly number[],
  { atol, rtol }: Limits,
  most: number,
): Difference {
  const found: Difference = {
    elements: got.length,
    differing: 0,
    outside: 0,
    maxAbs: 0,
    share: 0,
    worst: [],
  };
  const ranked: { at: number; share: number }[] = [];
  for (let at = 0; at < got.length; ++at) {
    const [is, wanted] = [got[at] as number, expected[at] as number];
    if (is === wanted || (Number.isNaN(is) && Number.isNaN(wanted))) continue;
    const apart = Math.abs(is - wanted);
    const finite = Number.isFinite(apart);
    const allowed = atol + rtol * Math.abs(wanted);
    found.differing += 1;
    if (finite) found.maxAbs = Math.max(found.maxAbs, apart);
    if (!finite || apart > allowed) found.outside += 1;
    const share = finite ? apart / allowed : Infinity;
    found.share = Math.max(found.share, share);
    keep(ranked, { at, share }, most);
  }
  found.worst = ranked.map(({ at }) => ({
    index: indexOf(at, shape),
    got: got[at] as number,
    expected: expected[at] as number,
  }));
  return found;
}

/** Puts `one` into a list that is sorted and holds at most `most`. */
function keep(
  ranked: { at: number; share: number }[],
  one: { at: number; share: number },
  most: number,
): void {
  if (ranked.length === most && (ranked.at(-1)?.share ?? Infinity) >= one.share) return;
  const place = ranked.findIndex(({ share }) => share < one.share);
  ranked.splice(place < 0 ? ranked.length : place, 0, one);
  ranked.length = Math.min(ranked.length, most);
}

function indexOf(at: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  let rest = at;
  for (const extent of shape.toReversed()) {
    index.unshift(rest % extent);
    rest = Math.floor(rest / extent);
  }
  return index;
}
