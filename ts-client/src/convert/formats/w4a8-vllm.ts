/** vLLM's two W4A8 layouts. */
import { isExpert } from "../source/layer-names.js";
import { blockObstacle } from "./blocks.js";
import { blockGroup, compressedTensors, ctFp8Block, EXPERT_TARGETS, groupOf } from "./compressed-tensors.js";
import { GROUP, groupsOf, int4Obstacle, int4Scheme } from "./int4.js";
import type { Constant, Format } from "./types.js";

const int4Group = (targets?: string[]) =>
  groupOf(
    "pack-quantized",
    { num_bits: 4, type: "int", symmetric: true, strategy: "group", group_size: GROUP },
    { strategy: "token" },
    targets,
  );

/** W4A8 as vLLM 0.33 loads it: compressed-tensors' pack-quantized, activations in FP8 for each token. */
export const w4a8Vllm: Format = {
  id: "w4a8_g128_vllm",
  version: 1,
  summary:
    "INT4 in groups of 128 with BF16 scales, FP8 activations: compressed-tensors pack-quantized, for vLLM",
  scales: ["mse", "amax"],
  border: GROUP,
  nan: false,
  awq: true,
  obstacle: int4Obstacle,
  encode: ({ name, shape }, { scales }) => {
    const [rows = 0, columns = 0] = shape;
    return {
      action: "w4a8_g128",
      scheme: int4Scheme("int4_offset", "BF16", scales),
      data: { name: `${name}_packed`, dtype: "I32", shape: [rows, columns / 8] },
      scale: { name: `${name}_scale`, dtype: "BF16", shape: groupsOf(shape) },
      constants: [shapeTensor(name, shape)],
    };
  },
  files: (modules) => compressedTensors([int4Group()], modules),
};

/** The codes and scales of the other engines' W4A8: experts as above, every other linear layer in block FP8. */
export const w4a8VllmMixed: Format = {
  ...w4a8Vllm,
  id: "w4a8_g128_vllm_mixed",
  summary: "experts as in w4a8_g128_vllm, the rest block FP8: compressed-tensors mixed-precision, for vLLM",
  obstacle: (group) => (group.expert ? int4Obstacle(group) : blockObstacle(group)),
  encode: (tensor, options) => (isExpert(tensor.name) ? w4a8Vllm : ctFp8Block).encode(tensor, options),
  files: (modules) => compressedTensors([int4Group(EXPERT_TARGETS), blockGroup], modules),
};

/** The shape before packing, which readers of a padded row would need. */
export function shapeTensor(name: string, shape: readonly number[]): Constant {
  const bytes = Buffer.alloc(8 * shape.length);
  for (const [i, extent] of shape.entries()) bytes.writeBigInt64LE(BigInt(extent), 8 * i);
  return { tensor: { name: `${name}_shape`, dtype: "I64", shape: [shape.length] }, bytes };
}
