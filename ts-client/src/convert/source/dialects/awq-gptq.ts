/** Reads AWQ and GPTQ weights of a source, whose lines in the file are columns of the matrix. */
import type { PlaneLayout } from "../../../types/convert-job.js";
import type { Located, ScaleGrid, Stored } from "../source.js";
import { ORIGINAL, partOf, type Reading } from "./reading.js";
import { groupsOf } from "./scale-grid.js";

/** AWQ and GPTQ keep matrices on their side: a line of the file is a column. */
const WORD = 32;
const FLOATS = new Set(["F16", "BF16", "F32"]);

interface Layer {
  codes: Located;
  scales: Located;
  zeros: Located | undefined;
  groups: Located | undefined;
  weight: string;
}

export function takeAwqAndGptq(reading: Reading): void {
  const { method } = reading.quantization;
  for (const codes of reading.all) {
    const { name, dtype } = codes.tensor;
    if (!/(^|\.)qweight$/.test(name) || dtype !== "I32") continue;
    const layer = layerOf(reading, codes);
    if (method === "awq") takeAwq(reading, layer);
    else if (method === "gptq") takeGptq(reading, layer);
    else throw reading.wrong(codes, "is of AWQ or of GPTQ, and config.json says neither", TOLD);
  }
}

const TOLD = "give the folder with its config.json, whose quantization_config names the tool";

function layerOf(reading: Reading, codes: Located): Layer {
  const stem = codes.tensor.name.slice(0, -"qweight".length);
  const scales = reading.named(`${stem}scales`);
  const flat = [codes, scales].every((one) => one?.tensor.shape.length === 2);
  if (scales === undefined || !flat || !FLOATS.has(scales.tensor.dtype))
    throw reading.wrong(
      codes,
      `has no ${stem}scales of two dimensions in ${[...FLOATS].join(", ")}`,
      `fetch the file that has them, or ${ORIGINAL}`,
      "OPSWAP_E_SOURCE",
    );
  return {
    codes,
    scales,
    zeros: reading.named(`${stem}qzeros`),
    groups: reading.named(`${stem}g_idx`),
    weight: `${stem}weight`,
  };
}

function takeAwq(reading: Reading, layer: Layer): void {
  const { codes, scales, zeros } = layer;
  const [columns = 0, words = 0] = codes.tensor.shape;
  const rows = 8 * words;
  const layout: PlaneLayout = { element: "U4", packing: "awq", byColumns: true, pitch: rows, lines: columns };
  const grid = gridOf(reading, layer, [rows, columns]);
  if (zeros === undefined || zeros.tensor.shape.join() !== `${scales.tensor.shape[0]},${words}`)
    throw reading.wrong(codes, "has no qzeros of its groups and rows", ORIGINAL, "OPSWAP_E_SOURCE");
  const lines = scales.tensor.shape[0] ?? 0;
  take(reading, layer, [rows, columns], 4, {
    codes: layout,
    scales: grid,
    zeros: { ...grid, ...partOf(zeros), layout: { ...layout, lines } },
  });
}

function takeGptq(reading: Reading, layer: Layer): void {
  const { codes, scales, zeros, groups } = layer;
  const { bits: told = 4, zerosAsTheyAre } = reading.quantization;
  const [words = 0, rows = 0] = codes.tensor.shape;
  const [lines = 0] = scales.tensor.shape;
  const bits = zeros === undefined ? told : ((zeros.tensor.shape[1] ?? 0) * WORD) / rows;
  if ((bits !== 4 && bits !== 8) || (zeros !== undefined && zeros.tensor.shape[0] !== lines))
    throw reading.wrong(codes, "has no qzeros that are of 4 or 8 bits and of its groups", ORIGINAL);
  const shape = [rows, (words * WORD) / bits];
  const grid = gridOf(reading, layer, shape);
  const line = { element: bits === 4 ? "U4" : "U8", byColumns: true, pitch: rows };
  take(reading, layer, shape, bits, {
    codes: { ...line, packing: "across", lines: shape[1] ?? 0 },
    scales: grid,
    ...(zeros === undefined
      ? { zero: 2 ** (bits - 1) }
      : { zeros: { ...grid, ...partOf(zeros), layout: { ...line, lines } }, zero: zerosAsTheyAre ? 0 : 1 }),
    ...(groups === undefined ? {} : { groups: groupsOf(reading, groups, shape) }),
  });
}

function take(reading: Reading, layer: Layer, shape: number[], bits: number, stored: Stored): void {
  const { codes, scales, zeros, groups, weight } = layer;
  reading.take(codes, { name: weight, dtype: `INT${bits}`, shape }, stored);
  reading.leave(weight, [scales, zeros, groups]);
}

/** Scales lie as the codes do: for each group of columns a line of all rows. */
function gridOf(reading: Reading, { codes, scales }: Layer, shape: readonly number[]): ScaleGrid {
  const [rows = 0, columns = 0] = shape;
  const [lines = 0, wide = 0] = scales.tensor.shape;
  const { group = 0 } = reading.quantization;
  const size = group > 0 && Math.ceil(columns / group) === lines ? group : columns / lines;
  if (wide !== rows || !Number.isInteger(size))
    throw reading.wrong(
      codes,
      `has scales [${lines}, ${wide}], which are not of groups of [${rows}, ${columns}]`,
      ORIGINAL,
      "OPSWAP_E_SOURCE",
    );
  const layout = { element: scales.tensor.dtype, byColumns: true, pitch: rows, lines };
  return { ...partOf(scales), rows: 1, columns: size, layout };
}
