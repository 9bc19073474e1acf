/** Computes the scales of --awq, and maps values between columns and the channels that they read. */

/** Exponents that are tried are k / STEPS. */
export const STEPS = 16;
/** So that no scale is more than 2^8 of another, and no column counts for nothing. */
const LEAST_SHARE = 2 ** -16;
const ROOTS = Math.log2(2 * STEPS);

/** What statistics count as: none far below the largest, and all 1 where a layer has seen only zeros. */
export function floored(meanSquares: Float32Array): Float64Array {
  const most = meanSquares.reduce((a, b) => Math.max(a, b), 0);
  return Float64Array.from(meanSquares, (value) => (most === 0 ? 1 : Math.max(value, most * LEAST_SHARE)));
}

/**
 * AWQ's scales: each channel's magnitude (the root of its mean square) to the power step / STEPS, over the geometric
 * mean of the largest and the least. Made of square roots and products alone, which every machine rounds the same.
 */
export function channelScales(meanSquares: Float64Array, step: number): Float64Array {
  const powers = meanSquares.map((value) => {
    let root = value;
    for (let i = 0; i < ROOTS; i++) root = Math.sqrt(root);
    let power = 1;
    for (let i = 0; i < step; i++) power *= root;
    return power;
  });
  const [low, high] = powers.reduce(
    ([a, b], power) => [Math.min(a, power), Math.max(b, power)],
    [Number.POSITIVE_INFINITY, 0],
  );
  const middle = Math.sqrt(low * high);
  return powers.map((power) => power / middle);
}

/** How heads of columns share channels. */
export interface Spread {
  repeat: number;
  width: number;
}

/** One value for each column from one for each channel. */
export function spread<T extends Float32Array | Float64Array>(
  channels: T,
  { repeat, width }: Spread,
): Float64Array {
  return Float64Array.from({ length: channels.length * repeat }, (_, column) => {
    const channel = Math.floor(column / (width * repeat)) * width + (column % width);
    return channels[channel] ?? 0;
  });
}

/** The mean, over the columns that read it, for each channel. */
export function gather(columns: Float64Array, { repeat, width }: Spread): Float64Array {
  const channels = new Float64Array(columns.length / repeat);
  for (const [column, value] of columns.entries()) {
    const channel = Math.floor(column / (width * repeat)) * width + (column % width);
    channels[channel] = (channels[channel] ?? 0) + value / repeat;
  }
  return channels;
}

const word = new DataView(new ArrayBuffer(4));

/** The nearest bfloat16, ties to even, of a float32. */
export function toBf16(value: number): number {
  word.setFloat32(0, value);
  const bits = word.getUint32(0);
  word.setUint32(0, ((bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff_0000) >>> 0);
  return word.getFloat32(0);
}

/** What a norm's weights go through: (stored + add) * factor + after, rounded to bfloat16. */
export interface NormFactors {
  add: number;
  factors: Float32Array;
  after: number;
  /** What the readers' columns are multiplied by: exactly what rounding has left of the norm. */
  columns: Float64Array;
}

/** `add` is what the stored weights lack; `plusOne`, that the norm multiplies by 1 + weight. */
export function normFactors(
  stored: Float32Array,
  scales: Float64Array,
  { add, plusOne }: { add: number; plusOne: boolean },
): NormFactors {
  const plain = scales.every((scale) => scale === 1);
  const one = plusOne && !plain ? 1 : 0;
  const before = add + one;
  const factors = Float32Array.from(scales, (scale) => 1 / scale);
  const columns = new Float64Array(stored.length);
  const multiplier = (weight: number) => weight + (plusOne ? 1 : 0);
  for (const [i, value] of stored.entries()) {
    const left = () => {
      const scaled = Math.fround(Math.fround(value + before) * (factors[i] ?? 1));
      return multiplier(toBf16(Math.fround(scaled - one)));
    };
    const was = multiplier(value + add);
    if (!(left() / was > 0)) factors[i] = 1;
    const ratio = was / left();
    columns[i] = ratio > 0 && Number.isFinite(ratio) ? ratio : 1;
  }
  return { add: before, factors, after: -one, columns };
}
