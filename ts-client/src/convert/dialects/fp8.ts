import { z } from "zod";
import { convertError } from "../errors.js";
import { alignedScales } from "../formats/own.js";
import { withReadBlock } from "../quantization-blocks.js";
import type { ScaleGrid, Source, SourceFile, SourceTensor } from "../source.js";

const BLOCK = 128;
const CODES = new Set(["F8_E4M3", "F8_E5M2"]);
const WEIGHT = /\.weight$/;

const size = z.tuple([z.number().int().positive(), z.number().int().positive()]);
const group = z.object({
  weights: z.object({ num_bits: z.literal(8), type: z.literal("float"), block_structure: size.nullish() }),
});
const quantization = z.union([
  z.object({ quant_method: z.literal("fp8"), weight_block_size: size.nullish() }),
  z.object({ quant_method: z.literal("opswap"), layout: z.string() }),
  z.object({
    quant_method: z.literal("compressed-tensors"),
    format: z.literal("float-quantized"),
    config_groups: z.record(z.string(), group),
  }),
]);
const config = z.object({ quantization_config: quantization });

type Located = { file: SourceFile; tensor: SourceTensor };

/** Finds the scales of FP8 weights, so that they can be read; `fp8` is then true. A source without any comes back as it is. */
export function withScales(source: Source): Source {
  const named = new Map<string, Located>();
  for (const file of source.files)
    for (const tensor of file.header.tensors) named.set(tensor.name, { file, tensor });
  const parsed = config.safeParse(withReadBlock(source.config)).data;
  const block = parsed === undefined ? undefined : blockOf(parsed.quantization_config);
  const read = new Map<string, SourceTensor>();
  for (const one of named.values()) {
    if (!CODES.has(one.tensor.dtype) || !WEIGHT.test(one.tensor.name)) continue;
    const grid = gridOf(one, named, block);
    read.set(one.tensor.name, { ...one.tensor, stored: { scales: grid } });
    const part = named.get(grid.tensor.name)?.tensor;
    if (part !== undefined) read.set(part.name, { ...part, scaleOf: one.tensor.name });
  }
  if (read.size === 0) return { ...source, fp8: parsed !== undefined };
  const files = source.files.map((file) => ({
    ...file,
    header: { ...file.header, tensors: file.header.tensors.map((one) => read.get(one.name) ?? one) },
  }));
  return { ...source, files, fp8: true };
}

function blockOf(given: z.infer<typeof quantization>): readonly [number, number] | undefined {
  if (given.quant_method === "opswap") return undefined;
  if (given.quant_method === "fp8") return given.weight_block_size ?? undefined;
  return Object.values(given.config_groups)[0]?.weights.block_structure ?? undefined;
}

/** Codes without their scales would be other weights. */
function gridOf(
  { file, tensor }: Located,
  named: ReadonlyMap<string, Located>,
  block: readonly [number, number] = [BLOCK, BLOCK],
): ScaleGrid {
  const found = named.get(`${tensor.name}_scale_inv`) ?? named.get(`${tensor.name}_scale`);
  const wrong = (problem: string) =>
    convertError("OPSWAP_E_SOURCE", `${file.path}: tensor ${tensor.name} (${tensor.dtype}) ${problem}`);
  if (found === undefined) throw wrong(`has no ${tensor.name}_scale_inv or ${tensor.name}_scale`);
  const { tensor: scale, file: at } = found;
  const [rows = 0, columns = 0] = tensor.shape;
  if (tensor.shape.length !== 2) throw wrong(`has ${tensor.shape.length} dimensions, not 2`);
  if (!["F32", "BF16"].includes(scale.dtype)) throw wrong(`has scales of ${scale.dtype}, which are not read`);
  const extents = extentsOf(scale.shape, rows, columns, block);
  if (extents === undefined)
    throw wrong(`is [${rows}, ${columns}] and has scales [${scale.shape.join(", ")}], which fit no blocks`);
  const offset = at.header.dataStart + scale.begin;
  const across = Math.ceil(columns / extents[1]);
  const used = scale.shape.length === 2 && scale.shape[1] !== across ? { used: across } : {};
  return { tensor: scale, path: at.path, offset, rows: extents[0], columns: extents[1], ...used };
}

/** Rows and columns that share a scale: a block's, a row's, or the tensor's. */
function extentsOf(
  shape: readonly number[],
  rows: number,
  columns: number,
  block: readonly [number, number],
): [number, number] | undefined {
  const [down, across = 1] = shape;
  const whole: [number, number] = [Math.max(rows, 1), Math.max(columns, 1)];
  if (shape.every((extent) => extent === 1)) return whole;
  const blocks =
    shape.length === 2 && down === Math.ceil(rows / block[0]) && fills(across, Math.ceil(columns / block[1]));
  if (blocks) return [block[0], block[1]];
  return down === rows && across === 1 ? [1, whole[1]] : undefined;
}

/** Rows of scales may be filled up, as fp8_block128_pad4 has them. */
const fills = (stored: number, blocks: number) => stored === blocks || stored === alignedScales(blocks);
