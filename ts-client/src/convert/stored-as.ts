import { readScales } from "./scales.js";
import type { Stored } from "./source.js";

/** How a source keeps a tensor, for the native part. */
export function storedAs(stored: Stored | undefined) {
  const { heads, add, scales } = stored ?? {};
  return {
    ...(heads === undefined ? {} : { heads }),
    ...(add === undefined ? {} : { add }),
    ...(scales === undefined
      ? {}
      : { scales: readScales(scales), scaleRows: scales.rows, scaleColumns: scales.columns }),
  };
}
