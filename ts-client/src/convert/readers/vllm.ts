import { ownLayout, W4AFP8 } from "./layouts.js";
import { RULES } from "./rules.js";
import type { Facts, Problem, ReaderRules } from "./types.js";

/** W4A8 is compressed-tensors there; w4afp8 is SGLang's, and TensorRT-LLM's files are not looked at. */
function w4afp8({ layout }: Facts): Problem[] {
  if (!W4AFP8.test(layout)) return [];
  return [
    {
      problem: "it has no w4afp8, and finds no parameter for these scales",
      remedy: "`convert repack --to w4a8_g128_vllm_mixed` has the same codes",
      file: "model_executor/layers/quantization/__init__.py",
    },
  ];
}

export const vllm: ReaderRules = {
  name: "vLLM",
  version: RULES.vllm.version,
  known: "loaded",
  problems: (facts) => [
    ...ownLayout(facts, "model_executor/layers/quantization/__init__.py"),
    ...w4afp8(facts),
  ],
};
