import { loadNative } from "../native.js";
import { convertError, isFull } from "./errors.js";
import type { ConvertFailure, ConvertJob, ConvertResult } from "./native-job.js";
import type { Nonfinite, PlannedFile, PlannedTensor } from "./plan.js";

/** Elements that are looked at; others are bytes. */
const FLOATS = new Set(["BF16", "F16", "F32", "F64", "F8_E5M2", "F8_E4M3"]);

export interface Files {
  source: number;
  target: number;
}

export interface How {
  nonfinite: Nonfinite;
  threads: number;
}

/** Runs one tensor off the event loop. */
export async function work(
  mode: ConvertJob["mode"],
  file: PlannedFile,
  tensor: PlannedTensor,
  files: Files,
  how: How,
): Promise<ConvertResult> {
  const { dtype, shape, begin, end } = tensor.source;
  const float = FLOATS.has(dtype);
  const bytes = end - begin;
  const columns = tensor.scheme === "copy" ? elements(bytes, dtype, float) : (shape[1] ?? 0);
  try {
    return await loadNative().convertTensor({
      mode,
      scheme: tensor.scheme,
      element: float ? dtype : "bytes",
      nonfinite: how.nonfinite,
      ...files,
      sourceOffset: file.source.header.dataStart + begin,
      dataOffset: tensor.data.offset,
      scaleOffset: tensor.scale?.offset ?? 0,
      rows: tensor.scheme === "copy" ? 1 : (shape[0] ?? 0),
      columns,
      threads: how.threads,
    });
  } catch (error) {
    throw explained(error, file, tensor);
  }
}

function elements(bytes: number, dtype: string, float: boolean): number {
  if (!float) return bytes;
  return bytes / (dtype === "F64" ? 8 : dtype === "F32" ? 4 : dtype.startsWith("F8") ? 1 : 2);
}

function explained(error: unknown, file: PlannedFile, tensor: PlannedTensor): unknown {
  const { call, errno, onTarget, offset, message } = error as ConvertFailure;
  if (call === undefined) return error;
  const where = `tensor ${tensor.name}: ${message} at byte ${offset} of ${onTarget ? `the output's ${file.name}` : file.source.path}`;
  if (errno === 0 && !onTarget)
    return convertError("OPSWAP_E_SOURCE_CHANGED", where, "the file was cut while it was read; restore it");
  const full = errno !== 0 && isFull(errno);
  return convertError(full ? "OPSWAP_E_DISK_FULL" : "OPSWAP_E_IO", where);
}

/** Refuses a tensor that holds what the policy does not allow. */
export function checkFinite(tensor: PlannedTensor, { nonfinite }: ConvertResult, policy: Nonfinite): void {
  if (nonfinite.count === 0 || policy !== "refuse") return;
  const at = positionOf(tensor, nonfinite.row, nonfinite.column);
  throw convertError(
    "OPSWAP_E_NONFINITE",
    `tensor ${tensor.name} has ${nonfinite.count} NaN or infinite elements, the first at [${at.join(", ")}]`,
  );
}

/** Index of an element; a copy is seen as one row. */
function positionOf(tensor: PlannedTensor, row: number, column: number): number[] {
  if (tensor.scheme !== "copy") return [row, column];
  const at: number[] = [];
  let rest = column;
  for (const extent of tensor.source.shape.toReversed()) {
    at.unshift(rest % extent);
    rest = Math.floor(rest / extent);
  }
  return at;
}
