/** Works out from shapes which rows and columns of a weight each of its scales serves. */
import { alignedScales } from "../aligned-scales.js";

export type Block = readonly [number, number];

/** The block of rows x columns that one scale serves, and the slices of the tensor. */
export interface ScaleExtent {
  rows: number;
  columns: number;
  slices: number;
  /** How many of a row's stored scales count, where the others only fill it up. */
  used?: number;
}

/** Blocks where nothing says otherwise: DeepSeek's. */
const USUAL: Block = [128, 128];
/** Sides that a block can have which only the number of scales tells. */
const SMALLEST = 16;

/** The extent of each scale, from both shapes; undefined where they do not fit. Three dimensions begin with slices. */
export function scaleExtentOf(
  scales: readonly number[],
  weight: readonly number[],
  block: Block | undefined,
): ScaleExtent | undefined {
  const columns = weight.at(-1) ?? 1;
  const all = weight.reduce((product, extent) => product * extent, 1);
  if (all === 0) return undefined;
  const plain = withoutOnes(scales);
  if (plain.every((extent) => extent === 1)) return { rows: all / columns, columns, slices: 1 };
  const slices = weight.length < 3 ? 1 : (weight[0] ?? 1);
  const rows = all / columns / slices;
  if (slices === 1) return inMatrix(plain, rows, columns, block, 1);
  const [first, ...rest] = plain;
  return first === slices ? inMatrix(rest, rows, columns, block, slices) : undefined;
}

/** ModelOpt writes blocks as [down, 1, across, 1]. */
function withoutOnes(shape: readonly number[]): readonly number[] {
  const [across, last] = [shape.at(-2), shape.at(-1)];
  const spread = shape.length >= 4 && shape.at(-3) === 1 && last === 1;
  return spread ? [...shape.slice(0, -3), across ?? 1] : shape;
}

function inMatrix(
  shape: readonly number[],
  rows: number,
  columns: number,
  block: Block | undefined,
  slices: number,
): ScaleExtent | undefined {
  const [down = 1, across = 1, ...more] = shape;
  if (more.some((extent) => extent !== 1)) return undefined;
  const serving = (high: number, wide: number, used?: number): ScaleExtent => ({
    rows: high,
    columns: wide,
    slices,
    ...(used === undefined ? {} : { used }),
  });
  if (down === 1 && across === 1) return serving(rows, columns);
  if (down === rows && across === 1) return serving(1, columns);
  if (down === 1 && across === columns) return serving(rows, 1);
  const found = inBlocks([down, across], [rows, columns], block ?? USUAL);
  if (found !== undefined) return serving(...found);
  const sides =
    inGroups([down, across], [rows, columns]) ??
    (block ? undefined : byCount([down, across], [rows, columns]));
  return sides && serving(...sides);
}

/** Rows of scales may be filled up, as fp8_block128_pad4 has them. */
function inBlocks(
  [down, across]: Block,
  [rows, columns]: Block,
  [high, wide]: Block,
): [number, number, number?] | undefined {
  const needed = Math.ceil(columns / wide);
  if (down !== Math.ceil(rows / high)) return undefined;
  if (across === needed) return [high, wide];
  return across === alignedScales(needed) ? [high, wide, needed] : undefined;
}

/** Groups along one side: of a row, of a column, or of all rows. */
function inGroups([down, across]: Block, [rows, columns]: Block): [number, number] | undefined {
  if (down === rows && columns % across === 0) return [1, columns / across];
  if (across === columns && rows % down === 0) return [rows / down, 1];
  if (down === 1 && columns % across === 0) return [rows, columns / across];
  return across === 1 && rows % down === 0 ? [rows / down, columns] : undefined;
}

/** Where nothing names the block, whole blocks of a usual size. */
function byCount([down, across]: Block, [rows, columns]: Block): [number, number] | undefined {
  const sides: [number, number] = [rows / down, columns / across];
  const usual = sides.every(
    (side) => Number.isInteger(side) && side >= SMALLEST && (side & (side - 1)) === 0,
  );
  return usual ? sides : undefined;
}
