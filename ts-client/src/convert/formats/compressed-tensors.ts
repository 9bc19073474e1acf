import { BLOCK, blockObstacle, blocksOf } from "./blocks.js";
import { FP8_BLOCK } from "./fp8-block128.js";
import { FP8_TENSOR } from "./fp8-tensor.js";
import type { BlockScheme, Format, LoaderFiles, Modules } from "./types.js";

type Arguments = Record<string, unknown>;
const FLOAT = { num_bits: 8, type: "float", symmetric: true };

/** config.json's block as compressed-tensors writes it: one group with every linear layer that is not ignored. */
export function compressedTensors(
  format: string,
  weights: Arguments,
  activations: Arguments,
  { kept }: Modules,
): LoaderFiles {
  const group = {
    format,
    targets: ["Linear"],
    weights: { ...weights, dynamic: false },
    input_activations: { ...FLOAT, ...activations, dynamic: true },
    output_activations: null,
  };
  return {
    config: {
      config_groups: { group_0: group },
      format,
      ignore: kept,
      kv_cache_scheme: null,
      quant_method: "compressed-tensors",
      quantization_status: "compressed",
    },
    others: {},
  };
}

interface Variant {
  strategy: string;
  summary: string;
  scheme: BlockScheme;
  scales(shape: readonly number[]): number[];
  weights?: Arguments;
  activations: Arguments;
}

function float8(variant: Variant, more: Pick<Format, "border" | "obstacle" | "shared">): Format {
  const { strategy, scheme } = variant;
  const id = `ct_fp8_${strategy}`;
  return {
    id,
    version: 1,
    summary: variant.summary,
    scales: ["amax"],
    nan: true,
    ...more,
    encode: ({ name, shape }) => ({
      action: id,
      scheme,
      data: { name, dtype: "F8_E4M3", shape },
      scale: { name: `${name}_scale`, dtype: "F32", shape: variant.scales(shape) },
    }),
    files: (modules) =>
      compressedTensors(
        "float-quantized",
        { ...FLOAT, strategy, ...variant.weights },
        variant.activations,
        modules,
      ),
  };
}

export const ctFp8Tensor = float8(
  {
    strategy: "tensor",
    summary: "compressed-tensors: FP8 with one scale for a matrix, shared by parts that engines fuse",
    scheme: FP8_TENSOR,
    scales: () => [1],
    activations: { strategy: "token" },
  },
  { border: 1, shared: true, obstacle: () => undefined },
);

export const ctFp8Channel = float8(
  {
    strategy: "channel",
    summary: "compressed-tensors: FP8 with a scale for each row, which it calls FP8_DYNAMIC",
    scheme: { code: "e4m3", blockRows: 1, blockColumns: 0, scale: "F32" },
    scales: ([rows = 0]) => [rows, 1],
    activations: { strategy: "token" },
  },
  { border: 1, obstacle: () => undefined },
);

export const ctFp8Block = float8(
  {
    strategy: "block",
    summary: "compressed-tensors: FP8 with a scale for each 128 x 128 block, which it calls FP8_BLOCK",
    scheme: FP8_BLOCK,
    scales: blocksOf,
    weights: { block_structure: [BLOCK, BLOCK] },
    activations: { strategy: "group", group_size: BLOCK },
  },
  { border: BLOCK, obstacle: blockObstacle },
);
