/** INT4 codes in groups of 128 columns, which all W4A8 layouts have. */
import type { BlockScheme } from "../../types/convert-job.js";
import type { ScaleRule } from "../options/choices.js";
import type { FusedGroup } from "./types.js";

/** Columns that share a scale. */
export const GROUP = 128;
/** vLLM's and SGLang's kernels for experts take whole pairs of groups. */
const EXPERT_BORDER = 256;

/** Four bits; the codes go from -8 to 7. */
export function int4Scheme(
  code: "int4_offset" | "int4_signed",
  scale: "F32" | "BF16",
  rule: ScaleRule,
): BlockScheme {
  return { code, blockRows: 1, blockColumns: GROUP, scale, clipped: rule === "mse" };
}

export const groupsOf = ([rows = 0, columns = 0]: readonly number[]) => [rows, columns / GROUP];

/** Kernels read whole groups, and whole tiles of rows, of which a fused matrix is one. */
export function int4Obstacle({ rows, columns, expert }: FusedGroup): string | undefined {
  const border = expert ? EXPERT_BORDER : GROUP;
  const all = expert ? (rows[0] ?? 0) : rows.reduce((a, b) => a + b, 0);
  const what = expert ? "experts" : rows.length > 1 ? "a fused matrix" : "a matrix";
  if (columns % border !== 0) return `${what} with ${columns} columns, which are not a multiple of ${border}`;
  if (all % border !== 0) return `${what} with ${all} rows, which are not a multiple of ${border}`;
  return undefined;
}
