/** Cuts stacked experts into one tensor for each, without reading a byte. */
import { bitsOf } from "./safetensors/dtypes.js";
import type { ScaleGrid, SourceTensor } from "./source.js";

/** What tells how a model's stacked experts lie. */
export interface ExpertModel {
  /** Columns of what experts read. */
  hidden: number;
  modelType?: string;
}

/**
 * What stands for a stacked tensor, and for its tensor of scales: as ever, the output has scales only where codes stay.
 */
export interface Split {
  weights: SourceTensor[];
  scales: SourceTensor[];
}

const STACKED = /^(?<experts>.*(^|\.)experts)\.(?<part>gate_up_proj|down_proj)(\.weight)?$/;
/** Their experts multiply from the other side: [experts, columns, rows]. */
const TURNED = /^(gpt_oss|llama4)/;

/**
 * Cuts `experts.gate_up_proj` [experts, 2 x inner, hidden] and `experts.down_proj` [experts, hidden, inner] into
 * `experts.N.gate_proj.weight`, `up_proj.weight` and `down_proj.weight`, without reading a byte; undefined for every other
 * tensor, and where it cannot be told which extent is which.
 */
export function splitStacked(tensor: SourceTensor, model: ExpertModel): Split | undefined {
  const { experts, part } = STACKED.exec(tensor.name)?.groups ?? {};
  const [count = 0, rows = 0, columns = 0] = tensor.shape;
  if (experts === undefined || tensor.shape.length !== 3 || !isCut(tensor, model)) return undefined;
  const gates = part === "gate_up_proj";
  if ((gates ? columns : rows) !== model.hidden || (gates && rows % 2 !== 0)) return undefined;
  const parts = gates ? ["gate_proj", "up_proj"] : ["down_proj"];
  const high = rows / parts.length;
  const cut = Array.from({ length: count }, (_, expert) =>
    parts.map((leaf, i) => sliceOf(tensor, `${experts}.${expert}.${leaf}.weight`, expert, i * high, high)),
  ).flat();
  return { weights: cut.map(({ weight }) => weight), scales: cut.flatMap(({ scale }) => scale ?? []) };
}

/** Rows of plain elements, or of codes with scales and nothing else. */
function isCut({ stored = {} }: SourceTensor, { modelType = "" }: ExpertModel): boolean {
  const { scales, slices, ...more } = stored;
  return !TURNED.test(modelType) && Object.keys(more).length === 0 && scales?.layout === undefined;
}

function sliceOf(tensor: SourceTensor, name: string, expert: number, row: number, high: number) {
  const [count = 0, rows = 0, columns = 0] = tensor.shape;
  const line = (tensor.end - tensor.begin) / (count * rows);
  const begin = tensor.begin + (expert * rows + row) * line;
  const { stored, ...entry } = tensor;
  const weight: SourceTensor = { ...entry, name, shape: [high, columns], begin, end: begin + high * line };
  if (stored?.scales === undefined) return { weight: stored ? { ...weight, stored } : weight };
  const slices = stored.slices ?? 1;
  const grid = gridOf(stored.scales, name, slices === 1 ? 0 : expert, {
    row: slices === 1 ? expert * rows + row : row,
    high,
    rows: slices === 1 ? count * rows : rows,
    columns,
  });
  return { weight: { ...weight, stored: { scales: grid } }, scale: { ...grid.tensor, scaleOf: name } };
}

interface Rows {
  row: number;
  high: number;
  /** Of the slice. */
  rows: number;
  columns: number;
}

/** The lines of a grid that serve some rows of a slice. */
function gridOf(
  grid: ScaleGrid,
  weight: string,
  slice: number,
  { row, high, rows, columns }: Rows,
): ScaleGrid {
  const { tensor, used, first: _, ...rest } = grid;
  const across = Math.ceil(columns / grid.columns);
  const pitch = used === undefined ? across : (tensor.shape.at(-1) ?? across);
  const line = (pitch * (bitsOf(tensor.dtype) ?? 8)) / 8;
  const [top, end] = [Math.floor(row / grid.rows), Math.ceil((row + high) / grid.rows)];
  const skipped = (slice * Math.ceil(rows / grid.rows) + top) * line;
  const before = row - top * grid.rows;
  // A block that serves rows of one part alone may be cut off anywhere; what else it served is elsewhere now.
  const first = end - top === 1 || before === 0 ? {} : { first: before };
  const name = weight + tensor.name.replace(/^.*?(?=_scale(_inv)?$)/, "");
  const begin = tensor.begin + skipped;
  const entry = { ...tensor, name, shape: [end - top, pitch], begin, end: begin + (end - top) * line };
  return {
    ...rest,
    tensor: entry,
    offset: grid.offset + skipped,
    ...first,
    ...(used === undefined ? {} : { used }),
  };
}
