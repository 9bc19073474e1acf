/** Describes for the native part how a source stores a tensor: its codes, scales, zeros and groups. */
import type { ConvertJob, JobGrid, PlaneLayout } from "../../types/convert-job.js";
import { readColumnGroups } from "./read-small-tensors.js";
import type { ScaleGrid, SourceTensor } from "./source.js";

type StoredJob = Pick<
  ConvertJob,
  "element" | "heads" | "add" | "slices" | "codes" | "scales" | "zeros" | "zero" | "groups"
>;

/** How a source keeps a tensor, whose bytes begin at `offset`, for the native part. */
export function jobPlanes({ name, stored = {}, shape }: SourceTensor, offset: number): Partial<StoredJob> {
  const { heads, add, slices = 1, codes, scales, zeros, zero, groups } = stored;
  const columns = shape.at(-1) ?? 1;
  const rows = shape.slice(0, -1).reduce((product, extent) => product * extent, 1) / slices;
  const size = scales?.columns ?? columns;
  const index = groups && readColumnGroups(name, groups, columns, size);
  return {
    ...(heads === undefined ? {} : { heads }),
    ...(add === undefined ? {} : { add }),
    ...(slices === 1 ? {} : { slices }),
    ...(codes === undefined ? {} : { element: "bytes", codes: { ...codes, offset } }),
    ...(scales === undefined ? {} : { scales: gridOf(scales, rows, columns) }),
    ...(zeros === undefined ? {} : { zeros: gridOf(zeros, rows, columns) }),
    ...(zero === undefined ? {} : { zero }),
    ...(index === undefined ? {} : { groups: index }),
  };
}

/** E8M0 is an exponent alone, which some write as bytes. */
const ELEMENTS: Readonly<Record<string, string>> = { F8_E8M0: "E8M0", U8: "E8M0" };

function gridOf(grid: ScaleGrid, height: number, width: number): JobGrid {
  const { path, offset, rows, columns, layout, first } = grid;
  const before = first === undefined ? {} : { first };
  return { path, offset, rows, columns, ...before, ...(layout ?? rowMajorLayout(grid, height, width)) };
}

/** Row after row, of each slice; one grid for all slices has no lines of its own. */
function rowMajorLayout(grid: ScaleGrid, height: number, width: number): PlaneLayout {
  const { tensor, rows, columns, used, first = 0 } = grid;
  const element = ELEMENTS[tensor.dtype] ?? tensor.dtype;
  const across = Math.max(1, Math.ceil(width / columns));
  const pitch = used === undefined ? across : (tensor.shape.at(-1) ?? across);
  const all = tensor.shape.reduce((product, extent) => product * extent, 1);
  const lines = Math.ceil((first + height) / rows);
  return { element, pitch, lines: all > lines * pitch ? lines : 0 };
}
