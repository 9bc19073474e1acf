/** Sizes, strides and bytes of a tensor in memory. */
import { OpswapError } from "../types/errors.js";

/** Bytes of an element, by the manifest's dtype names. */
const ITEM_BYTES: Record<string, number> = {
  float64: 8,
  int64: 8,
  float32: 4,
  int32: 4,
  bfloat16: 2,
  float16: 2,
  int8: 1,
  uint8: 1,
  bool: 1,
  float8_e4m3fn: 1,
  float8_e5m2: 1,
};

/** Where a tensor lies: strides in elements, and the bytes from element 0 to the end of the last one. */
export interface Layout {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly bytes: number;
}

/** Size of one element, or an error that lists the dtypes there are. */
export function itemBytes(dtype: string): number {
  const bytes = Object.hasOwn(ITEM_BYTES, dtype) ? ITEM_BYTES[dtype] : undefined;
  if (bytes !== undefined) return bytes;
  const known = Object.keys(ITEM_BYTES).join(", ");
  throw new OpswapError("OPSWAP_E_DTYPE", `tensor: expected a dtype of ${known}; got ${dtype}`);
}

/** Row-major strides. */
export function contiguous(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    strides[d] = step;
    step *= Math.max(1, shape[d] ?? 1);
  }
  return strides;
}

/** Checks dtype, shape and strides, and works out how much memory they span. */
export function layout(dtype: string, shape: readonly number[], strides?: readonly number[]): Layout {
  const item = itemBytes(dtype);
  const steps = strides ?? contiguous(shape);
  if (steps.length !== shape.length) {
    const message = `tensor: shape has ${shape.length} dimensions, strides have ${steps.length}`;
    throw new OpswapError("OPSWAP_E_STRIDE", message);
  }
  let last = 0;
  for (const [d, extent] of shape.entries()) {
    const step = steps[d] ?? 0;
    if (!isSize(extent) || !isSize(step)) {
      const message = `tensor: dimension ${d} needs an extent and a stride of 0 or more; got ${extent} and ${step}`;
      throw new OpswapError("OPSWAP_E_SHAPE", message);
    }
    last += Math.max(0, extent - 1) * step;
  }
  const bytes = shape.includes(0) ? 0 : (last + 1) * item;
  if (!Number.isSafeInteger(bytes))
    throw new OpswapError("OPSWAP_E_SHAPE", `tensor: [${shape}] is too large`);
  return { dtype, shape: [...shape], strides: [...steps], bytes };
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
