// Series of ln(candidate / control) for `verdicts`: by seed, or recorded from real kernels in balanced order.

/** Uniform numbers of [0, 1), the same of the same seed (mulberry32). @param {number} seed */
export function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Normal numbers (Box and Muller). @param {number} seed */
export function normal(seed) {
  const next = uniform(seed);
  return () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
}

/** An AR(1) series that begins in its own distribution. @param {number} seed @param {number} length @param {number} phi @param {number} spread */
export function ar1(seed, length, phi, spread) {
  const next = normal(seed);
  /** @type {Pair[]} */
  const pairs = [];
  let value = spread * next();
  for (let i = 0; i < length; i++) {
    pairs.push({ ratio: value, candidateFirst: i % 2 === 1 });
    value = phi * value + spread * Math.sqrt(1 - phi * phi) * next();
  }
  return pairs;
}

/** A pair: ln of the second arm's time over the first's, whether the second arm ran first, and the times where they were measured. @typedef {{ ratio: number, candidateFirst: boolean, control_ns?: number, candidate_ns?: number }} Pair */

/** Pieces of `block` neighbours of a series, chosen by seed, the end joined to the beginning. @param {number} seed @param {readonly Pair[]} series @param {number} length @param {number} block */
export function bootstrapped(seed, series, length, block) {
  const next = uniform(seed);
  /** @type {Pair[]} */
  const pairs = [];
  while (pairs.length < length) {
    const begin = Math.floor(next() * series.length);
    for (let i = begin; i < begin + block; i++) pairs.push(/** @type {Pair} */ (series[i % series.length]));
  }
  return pairs.slice(0, length);
}

/** Two equal calls of a real kernel, `pairs` times, each pair after an untimed call, in an order that the seed decides. @param {() => void} call @param {number} pairs @param {number} seed */
export function recordAa(call, pairs, seed) {
  const next = uniform(seed);
  /** @type {Pair[]} */
  const recorded = [];
  for (let i = 0; i < pairs; i++) {
    const candidateFirst = next() < 0.5;
    call();
    const start = process.hrtime.bigint();
    call();
    const middle = process.hrtime.bigint();
    call();
    const end = process.hrtime.bigint();
    const [first, second] = [Number(middle - start), Number(end - middle)];
    const [control_ns, candidate_ns] = candidateFirst ? [second, first] : [first, second];
    recorded.push({ ratio: Math.log(candidate_ns / control_ns), candidateFirst, control_ns, candidate_ns });
  }
  return recorded;
}
