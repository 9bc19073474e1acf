/** The layouts of opswap's own kernels. */
import { ALIGN, alignedScales } from "../source/aligned-scales.js";
import { BLOCK, blockObstacle, blocksOf } from "./blocks.js";
import { FP8_BLOCK } from "./fp8-block128.js";
import type { Format, LoaderFiles, Modules } from "./types.js";

/** Layouts of opswap's own kernels: engines that look for their own quant_method refuse them at once. */
const opswapConfig = (layout: string, { kept }: Modules): LoaderFiles => ({
  config: {
    quant_method: "opswap",
    layout,
    ...(kept.length > 0 ? { modules_to_not_convert: kept } : {}),
  },
  others: {},
});

export const fp8Channel: Format = {
  id: "fp8_channel",
  version: 1,
  summary: "for opswap's kernels: FP8 with a scale for each row",
  scales: ["amax"],
  border: 1,
  nan: true,
  obstacle: () => undefined,
  encode: ({ name, shape }) => ({
    action: "fp8_channel",
    scheme: { code: "e4m3", blockRows: 1, blockColumns: 0, scale: "F32" },
    data: { name, dtype: "F8_E4M3", shape },
    scale: { name: `${name}_scale`, dtype: "F32", shape: [shape[0] ?? 0, 1] },
  }),
  files: (modules) => opswapConfig("fp8_channel", modules),
};

export const fp8Block128Pad4: Format = {
  id: "fp8_block128_pad4",
  version: 1,
  summary: "for opswap's kernels: fp8_block128 whose rows of scales are padded to 16 bytes",
  holds: ({ tensor, rows, columns }) =>
    rows === BLOCK &&
    columns === BLOCK &&
    tensor.dtype === "F32" &&
    tensor.name.endsWith("_scale_inv") &&
    (tensor.shape[1] ?? 0) % ALIGN === 0,
  scales: ["amax"],
  border: BLOCK,
  nan: true,
  obstacle: blockObstacle,
  encode: ({ name, shape }) => {
    const [down = 0, across = 0] = blocksOf(shape);
    return {
      action: "fp8_block128_pad4",
      scheme: { ...FP8_BLOCK, scaleAlign: ALIGN },
      data: { name, dtype: "F8_E4M3", shape },
      scale: { name: `${name}_scale_inv`, dtype: "F32", shape: [down, alignedScales(across)] },
    };
  },
  files: (modules) => opswapConfig("fp8_block128_pad4", modules),
};
