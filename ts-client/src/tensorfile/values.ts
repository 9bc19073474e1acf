/** The values of a tensor's bytes as numbers. */

/**
 * The elements in row-major order. Every value of the small floating types is exact; whole numbers of 64 bits are exact
 * up to 2^53.
 */
export function values(dtype: string, bytes: Uint8Array): Float64Array {
  // A view of a file starts anywhere; typed arrays have to start on their own size.
  const { buffer } = new Uint8Array(bytes);
  switch (dtype) {
    case "float64":
      return new Float64Array(buffer);
    case "float32":
      return Float64Array.from(new Float32Array(buffer));
    case "bfloat16":
      return Float64Array.from(
        new Float32Array(Uint32Array.from(new Uint16Array(buffer), (x) => x << 16).buffer),
      );
    case "float16":
      return Float64Array.from(new Uint16Array(buffer), (x) => small(x, 5, 10, true));
    case "float8_e5m2":
      return Float64Array.from(new Uint8Array(buffer), (x) => small(x, 5, 2, true));
    case "float8_e4m3fn":
      return Float64Array.from(new Uint8Array(buffer), (x) =>
        (x & 0x7f) === 0x7f ? NaN : small(x, 4, 3, false),
      );
    case "int64":
      return Float64Array.from(new BigInt64Array(buffer), Number);
    case "int32":
      return Float64Array.from(new Int32Array(buffer));
    case "int8":
      return Float64Array.from(new Int8Array(buffer));
    default:
      return Float64Array.from(new Uint8Array(buffer));
  }
}

/** An IEEE number of few bits; without `infinities` the highest exponent is one like the others. */
function small(bits: number, exponentBits: number, mantissaBits: number, infinities: boolean): number {
  const bias = 2 ** (exponentBits - 1) - 1;
  const most = 2 ** exponentBits - 1;
  const mantissa = bits & (2 ** mantissaBits - 1);
  const exponent = (bits >> mantissaBits) & most;
  const sign = bits >> (mantissaBits + exponentBits) ? -1 : 1;
  if (infinities && exponent === most) return mantissa ? NaN : sign * Infinity;
  const fraction = exponent === 0 ? mantissa : mantissa + 2 ** mantissaBits;
  return sign * fraction * 2 ** (Math.max(exponent, 1) - bias - mantissaBits);
}
