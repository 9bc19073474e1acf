import { describe, expect, it } from "vitest";
import { bf16, formatNamed } from "../formats/index.js";
import { quantizationBlocks, withReadBlock } from "../source/quantization-blocks.js";
import { outputConfig } from "./config.js";

const FP8 = { quant_method: "fp8", weight_block_size: [64, 64] };
const NEW = { quant_method: "fp8" };
const block128 = formatNamed("fp8_block128");

function written(config: object, fp8: boolean, block: Record<string, unknown> | null = null) {
  const text = outputConfig({ config: JSON.stringify(config), fp8 }, block === null ? bf16 : block128, block);
  return JSON.parse(text);
}

describe("what config.json says of the source's quantisation", () => {
  it.each([
    [{ quantization_config: FP8 }],
    [{ compression_config: FP8 }],
    [{ text_config: { a: 1, quantization_config: FP8 } }],
    [{ quantization_config: FP8, text_config: { a: 1, quantization_config: FP8 } }],
    [{ thinker_config: { text_config: { quant_config: FP8 } } }],
    [{ quantization: FP8, quantization_config: { weight_block_size: [64, 64], quant_method: "fp8" } }],
  ])("is taken out of %j wherever it is", (config) => {
    expect(quantizationBlocks(written({ ...config, b: 2 }, true))).toEqual([]);
    expect(written({ ...config, b: 2 }, true)).toMatchObject({ b: 2 });
    const output = written(config, true, NEW);
    expect(quantizationBlocks(output)).toEqual([{ path: ["quantization_config"], block: NEW }]);
  });

  it.each([
    [
      { text_config: { quantization_config: { quant_method: "awq" } } },
      /text_config.quantization_config \(awq\)/,
    ],
    [{ vision_config: { torchao_config: { type: "int4" } } }, /vision_config.torchao_config:/],
    [{ quantization: { bits: 4, group_size: 64 } }, /has quantization:/],
  ])("in %j is refused by name where it is not read", (config, message) => {
    expect(() => written(config, false)).toThrow(message);
  });

  it("is refused where two descriptions differ", () => {
    const config = { quantization_config: FP8, text_config: { quantization_config: NEW } };
    expect(() => written(config, true)).toThrow(
      /quantization_config and text_config.quantization_config differ/,
    );
  });

  it("is nothing where it is null, a number or an audio codec's quantizer", () => {
    const config = { quantization_config: null, use_cache_quantization: false, quantizer: { bins: 8 } };
    expect(written(config, false)).toEqual(config);
    expect(written(config, false, NEW)).toEqual({ ...config, quantization_config: NEW });
  });

  it("is read from where engines read it", () => {
    const read = (config: object) => withReadBlock(JSON.stringify(config));
    expect(read({ text_config: { quantization_config: FP8 } })).toMatchObject({ quantization_config: FP8 });
    expect(read({ compression_config: FP8, text_config: { quantization_config: NEW } })).toMatchObject({
      quantization_config: FP8,
    });
    expect(read({ a: 1 })).toEqual({ a: 1 });
    expect(withReadBlock(null)).toBeNull();
  });
});
