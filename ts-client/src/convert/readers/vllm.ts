/** What vLLM does not load right, and what to do. */
import { CT_BLOCKS, isLlama4, ownLayout, problemOf, W4AFP8 } from "./layouts.js";
import { RULES } from "./rules.js";
import type { OutputFacts, Problem, ReaderRules } from "./types.js";

/** W4A8 is compressed-tensors there; w4afp8 is SGLang's, and TensorRT-LLM's files are not looked at. */
function w4afp8(facts: OutputFacts): Problem[] {
  if (!W4AFP8.test(facts.layout)) return [];
  return [
    {
      problem: "it has no w4afp8, and finds no parameter for these scales",
      remedy: isLlama4(facts)
        ? "write w4a8_g128_vllm"
        : "`convert repack --to w4a8_g128_vllm_mixed` has the same codes",
      file: "model_executor/layers/quantization/__init__.py",
    },
  ];
}

/** It puts queries and keys in another order by heads, and their scales as if each row had one. */
function llama4Blocks(facts: OutputFacts): Problem[] {
  const { layout, matrices } = facts;
  const found = matrices.filter(({ name }) => /\.[qk]_proj\.weight$/.test(name));
  return problemOf(CT_BLOCKS.test(layout) && isLlama4(facts) ? found : [], {
    problem: "it cannot put scales of blocks in the order of Llama 4's heads",
    remedy:
      layout === "ct_fp8_block"
        ? "`convert repack --to fp8_block128` has the same codes"
        : "write w4a8_g128_vllm",
    file: "model_executor/models/llama4.py",
  });
}

export const vllm: ReaderRules = {
  name: "vLLM",
  version: RULES.vllm.version,
  known: "loaded",
  problems: (facts) => [
    ...ownLayout(facts, "model_executor/layers/quantization/__init__.py"),
    ...w4afp8(facts),
    ...llama4Blocks(facts),
  ],
};
