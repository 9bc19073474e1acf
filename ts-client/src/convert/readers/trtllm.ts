/** What TensorRT-LLM does not load right, and what to do. */
import { ownLayout, W4AFP8 } from "./layouts.js";
import type { OutputFacts, Problem, ReaderRules } from "./types.js";

const FILE = "tensorrt_llm/_torch/model_config.py";

/** By its source alone: it is not installable where these rules are tested. */
function otherDialects({ layout }: OutputFacts): Problem[] {
  if (
    ["bf16", "fp8_block128", "w4a8_g128_trtllm"].includes(layout) ||
    /^fp8_(channel|block128_pad4)$/.test(layout)
  )
    return [];
  const remedy = W4AFP8.test(layout)
    ? "`convert repack --to w4a8_g128_trtllm` has the same codes"
    : "write fp8_block128 or w4a8_g128_trtllm";
  return [
    {
      problem: "it reads FP8 in DeepSeek's blocks, and W4A8 as its own files describe it",
      remedy,
      file: FILE,
    },
  ];
}

export const trtllm: ReaderRules = {
  name: "TensorRT-LLM",
  version: "1.2",
  known: "read",
  problems: (facts) => [...ownLayout(facts, FILE), ...otherDialects(facts)],
};
