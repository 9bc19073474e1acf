/** Converts one tensor through the native part, and explains its failures. */
import { loadNative } from "../../native.js";
import type { ConvertFailure, ConvertJob, ConvertResult, Nonfinite } from "../../types/convert-job.js";
import type { Scaling } from "../awq/scaling.js";
import { convertError, isFull } from "../errors.js";
import type { PlannedFile, PlannedTensor } from "../plan/types.js";
import { jobPlanes } from "../source/job-planes.js";
import type { SharedAmax } from "./shared-amax.js";

/** Elements that are looked at; others are bytes. */
const FLOATS = new Set(["BF16", "F16", "F32", "F64", "F8_E5M2", "F8_E4M3"]);

export interface Files {
  source: number;
  target: number;
}

export interface WorkContext {
  nonfinite: Nonfinite;
  threads: number;
  sharedAmax: SharedAmax;
  scaling: Scaling;
}

/** Runs one tensor off the event loop. */
export async function convertTensor(
  mode: ConvertJob["mode"],
  file: PlannedFile,
  tensor: PlannedTensor,
  files: Files,
  context: WorkContext,
): Promise<ConvertResult> {
  const { scheme } = tensor;
  const { dtype, begin, end, rowPitch } = tensor.source;
  const sourceOffset = tensor.from.header.dataStart + begin;
  const bytes = !("blockRows" in scheme) && scheme.code !== "bf16" && !FLOATS.has(dtype);
  try {
    const amax = mode === "digest" ? 0 : await context.sharedAmax.of(tensor, context.threads);
    const scaled = await scaledAs(mode, tensor, context);
    return await loadNative().convertTensor({
      mode,
      scheme,
      element: bytes ? "bytes" : dtype,
      nonfinite: context.nonfinite,
      ...files,
      sourceOffset,
      dataOffset: tensor.data.offset,
      scaleOffset: tensor.scale?.offset ?? 0,
      ...(bytes ? { rows: 1, columns: end - begin } : extentOf(tensor)),
      amax,
      threads: context.threads,
      ...(tensor.padded === undefined ? {} : { targetColumns: tensor.padded }),
      ...(rowPitch === undefined ? {} : { sourceColumns: rowPitch }),
      ...(scheme.code === "copy" ? {} : jobPlanes(tensor.source, sourceOffset)),
      ...scaled,
    });
  } catch (error) {
    throw explained(error, file, tensor);
  }
}

/** Tiles are cut in the same way whether or not the factors are needed. */
async function scaledAs(mode: ConvertJob["mode"], tensor: PlannedTensor, context: WorkContext) {
  if (tensor.folds.length === 0) return {};
  return mode === "digest" ? { scaled: true } : context.scaling.of(tensor, context.threads);
}

/** Rows and columns as the native part sees them: one row where rows do not matter. */
function extentOf({ source, scheme, folds, padded }: PlannedTensor): { rows: number; columns: number } {
  const elements = source.shape.reduce((product, extent) => product * extent, 1);
  const { scales, heads, codes } = source.stored ?? {};
  const matrix = folds.length > 0 && source.shape.length > 1;
  const plain = scales === undefined && heads === undefined && codes === undefined && !matrix;
  const rowsMatter = source.rowPitch !== undefined || padded !== undefined;
  const flat = !rowsMatter && (scheme.code === "copy" || (plain && !("blockRows" in scheme)));
  if (flat) return { rows: 1, columns: elements };
  const columns = (scales ?? codes) === undefined ? elements / (source.shape[0] ?? 1) : source.shape.at(-1);
  return columns ? { rows: elements / columns, columns } : { rows: 0, columns: 0 };
}

function explained(error: unknown, file: PlannedFile, tensor: PlannedTensor): unknown {
  const { call, errno, onTarget, offset, path, message } = error as ConvertFailure;
  if (call === undefined) return error;
  const where = `tensor ${tensor.name}: ${message} at byte ${offset} of ${onTarget ? `the output's ${file.name}` : path || tensor.from.path}`;
  if (errno === 0 && !onTarget)
    return convertError("OPSWAP_E_SOURCE_CHANGED", where, "the file was cut while it was read; restore it");
  const full = errno !== 0 && isFull(errno);
  return convertError(full ? "OPSWAP_E_DISK_FULL" : "OPSWAP_E_IO", where);
}

/** Refuses a tensor that holds what the policy does not allow, or numbers that its new type cannot hold. */
export function checkResult(tensor: PlannedTensor, result: ConvertResult, policy: Nonfinite): void {
  checkFinite(tensor, result, policy);
  const { inexact, firstInexact } = result;
  if (inexact === 0) return;
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `tensor ${tensor.name} has ${inexact} elements that ${tensor.data.dtype} cannot hold, the first is element ${firstInexact}`,
    "convert the checkpoint that this was made from: its scales are not those of the wanted layout",
  );
}

function checkFinite(tensor: PlannedTensor, { nonfinite }: ConvertResult, policy: Nonfinite): void {
  if (nonfinite.count === 0 || policy !== "refuse") return;
  const at = positionOf(tensor, nonfinite.row, nonfinite.column);
  throw convertError(
    "OPSWAP_E_NONFINITE",
    `tensor ${tensor.name} has ${nonfinite.count} NaN or infinite elements, the first at [${at.join(", ")}]`,
  );
}

/** Index of an element. */
function positionOf(tensor: PlannedTensor, row: number, column: number): number[] {
  const at: number[] = [];
  let rest = row * extentOf(tensor).columns + column;
  for (const extent of tensor.source.shape.toReversed()) {
    at.unshift(rest % extent);
    rest = Math.floor(rest / extent);
  }
  return at;
}
