import { closeSync, openSync, readSync } from "node:fs";
import { convertError } from "./errors.js";
import type { ScaleGrid } from "./source.js";

/** The numbers of a tensor of scales; there is one for each block, so they are few. */
export function readScales(grid: ScaleGrid): Float32Array {
  const all = readAll(grid);
  const { used } = grid;
  const wide = grid.tensor.shape[1] ?? 1;
  return used === undefined ? all : all.filter((_, i) => i % wide < used);
}

function readAll({ tensor, path, offset }: ScaleGrid): Float32Array {
  const bytes = Buffer.alloc(tensor.end - tensor.begin);
  const fd = openSync(path, "r");
  try {
    if (readSync(fd, bytes, 0, bytes.length, offset) < bytes.length)
      throw convertError("OPSWAP_E_SOURCE_CHANGED", `${path} ends inside ${tensor.name}`);
  } finally {
    closeSync(fd);
  }
  if (tensor.dtype === "F32")
    return Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
  // The upper half of a float32.
  const wide = Buffer.alloc(2 * bytes.length);
  for (let i = 0; i < bytes.length; i += 2) bytes.copy(wide, 2 * i + 2, i, i + 2);
  return Float32Array.from({ length: bytes.length / 2 }, (_, i) => wide.readFloatLE(4 * i));
}
