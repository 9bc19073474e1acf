/** The layout fp8_block128. */
import type { BlockScheme } from "../../types/convert-job.js";
import { BLOCK, blockObstacle, blocksOf } from "./blocks.js";
import type { Format } from "./types.js";

export const FP8_BLOCK: BlockScheme = { code: "e4m3", blockRows: BLOCK, blockColumns: BLOCK, scale: "F32" };

/** DeepSeek's block FP8: e4m3 codes, and a float32 scale, which multiplies, for each 128 x 128 block. */
export const fp8Block128: Format = {
  id: "fp8_block128",
  version: 1,
  summary: "weight F8_E4M3 and weight_scale_inv F32 for each 128 x 128 block, as DeepSeek ships them",
  holds: ({ tensor, rows, columns, used }) =>
    used === undefined &&
    rows === BLOCK &&
    columns === BLOCK &&
    tensor.dtype === "F32" &&
    tensor.name.endsWith("_scale_inv"),
  scales: ["amax"],
  border: BLOCK,
  ranks: { kvScales: true },
  nan: true,
  obstacle: blockObstacle,
  encode: ({ name, shape }) => ({
    action: "fp8_block128",
    scheme: FP8_BLOCK,
    data: { name, dtype: "F8_E4M3", shape },
    scale: { name: `${name}_scale_inv`, dtype: "F32", shape: blocksOf(shape) },
  }),
  files: ({ kept }) => ({
    config: {
      activation_scheme: "dynamic",
      fmt: "e4m3",
      quant_method: "fp8",
      weight_block_size: [BLOCK, BLOCK],
      ...(kept.length > 0 ? { modules_to_not_convert: kept } : {}),
    },
    others: {},
  }),
};
