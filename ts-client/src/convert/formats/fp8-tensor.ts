/** The layout fp8_tensor. */
import type { BlockScheme } from "../../types/convert-job.js";
import type { Format } from "./types.js";

export const FP8_TENSOR: BlockScheme = { code: "e4m3", blockRows: 0, blockColumns: 0, scale: "F32" };

/** FP8 with one scale for a matrix. Engines give a fused matrix one scale, so its parts share one from the start. */
export const fp8Tensor: Format = {
  id: "fp8_tensor",
  version: 1,
  summary: "weight F8_E4M3 and one weight_scale F32, shared by parts that engines fuse; dynamic activations",
  scales: ["amax"],
  border: 1,
  shared: true,
  nan: true,
  obstacle: () => undefined,
  encode: ({ name, shape }) => ({
    action: "fp8_tensor",
    scheme: FP8_TENSOR,
    data: { name, dtype: "F8_E4M3", shape },
    scale: { name: `${name}_scale`, dtype: "F32", shape: [1] },
  }),
  files: ({ kept }) => ({
    config: {
      activation_scheme: "dynamic",
      quant_method: "fp8",
      ...(kept.length > 0 ? { ignored_layers: kept } : {}),
    },
    others: {},
  }),
};
