/** Reads small tensors of a source into memory: scales, and the quantisation group of each column, checked. */
import { closeSync, openSync, readSync } from "node:fs";
import { convertError } from "../errors.js";
import type { PartTensor, ScaleGrid } from "./source.js";

/** The numbers of a short tensor of F32. */
export function readScales(grid: ScaleGrid): Float32Array {
  const bytes = readTensorBytes(grid);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}

/**
 * The group of each column (GPTQ's g_idx). Undefined where column i is in group i / size, or where compressed-tensors
 * wrote -1 alone. Refuses a group that has no scale.
 */
export function readColumnGroups(
  weight: string,
  part: PartTensor,
  columns: number,
  size: number,
): Int32Array | undefined {
  const bytes = readTensorBytes(part);
  const groups = Int32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readInt32LE(4 * i));
  if (groups.every((group, i) => group === Math.floor(i / size)) || groups.every((group) => group === -1))
    return undefined;
  const most = Math.ceil(columns / size);
  const bad = groups.findIndex((group) => group < 0 || group >= most);
  if (bad < 0) return groups;
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `${part.path}: ${part.tensor.name}[${bad}] is ${groups[bad]}, and ${weight} has ${most} groups`,
    "these groups are not of these scales: quantise the model again, or convert what it was made from",
  );
}

/** The bytes of a small tensor. */
export function readTensorBytes({ tensor, path, offset }: PartTensor): Buffer {
  const bytes = Buffer.alloc(tensor.end - tensor.begin);
  const fd = openSync(path, "r");
  try {
    if (readSync(fd, bytes, 0, bytes.length, offset) < bytes.length)
      throw convertError("OPSWAP_E_SOURCE_CHANGED", `${path} ends inside ${tensor.name}`);
  } finally {
    closeSync(fd);
  }
  return bytes;
}
