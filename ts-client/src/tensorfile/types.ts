/** A tensor of a file, and refusals of tensor files. */
import { OpswapError } from "../types/errors.js";

/** A tensor as a file holds it: row-major bytes. */
export interface FileTensor {
  /** As the manifest names it: float32, bfloat16, int64, ... */
  dtype: string;
  shape: readonly number[];
  bytes: Uint8Array;
}

/** A file that cannot be used, and why. */
export function fileError(file: string, problem: string, remedy?: string): OpswapError {
  return new OpswapError(
    "OPSWAP_E_TENSOR_FILE",
    `${file}: ${problem}`,
    remedy === undefined ? {} : { remedy },
  );
}

export function elements(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}
