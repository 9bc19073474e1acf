/** The dtypes of safetensors: their bits, and the bytes of a tensor. */

/** Bits of an element of each dtype that the format knows. */
const BITS: Readonly<Record<string, number>> = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
};

export function bitsOf(dtype: string): number | undefined {
  return Object.hasOwn(BITS, dtype) ? BITS[dtype] : undefined;
}

export const DTYPES = Object.keys(BITS);

/** Bytes of a tensor; undefined when they are no whole number, or more than a number holds. */
export function bytesOf(bits: number, shape: readonly number[]): number | undefined {
  let elements = 1;
  for (const extent of shape) {
    elements *= extent;
    if (!Number.isSafeInteger(elements * bits)) return undefined;
  }
  return (elements * bits) % 8 === 0 ? (elements * bits) / 8 : undefined;
}
