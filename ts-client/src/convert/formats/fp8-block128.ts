import type { Format } from "./types.js";

const BLOCK = 128;

/** DeepSeek's block FP8: e4m3 codes, and a float32 scale, which multiplies, for each 128 x 128 block. */
export const fp8Block128: Format = {
  id: "fp8_block128",
  version: 1,
  summary: "weight F8_E4M3 and weight_scale_inv F32 for each 128 x 128 block, as DeepSeek ships them",
  scheme: "fp8_block128",
  block: [BLOCK, BLOCK],
  outputs({ name, shape }) {
    const blocks = shape.map((extent) => Math.ceil(extent / BLOCK));
    return {
      data: { name, dtype: "F8_E4M3", shape },
      scale: { name: `${name}_scale_inv`, dtype: "F32", shape: blocks },
    };
  },
  holds: ({ tensor, rows, columns }) =>
    rows === BLOCK && columns === BLOCK && tensor.dtype === "F32" && tensor.name.endsWith("_scale_inv"),
  config: (kept) => ({
    activation_scheme: "dynamic",
    fmt: "e4m3",
    quant_method: "fp8",
    weight_block_size: [BLOCK, BLOCK],
    ...(kept.length > 0 ? { modules_to_not_convert: kept } : {}),
  }),
};
