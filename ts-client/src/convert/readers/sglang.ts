import { isExpert } from "../fused.js";
import { CT, experts, ownLayout, W4AFP8 } from "./layouts.js";
import { RULES } from "./rules.js";
import type { Facts, Problem, ReaderRules } from "./types.js";

const LLAMA = "LlamaForCausalLM";
/** Whether a model is its class for Llama, or made of it. */
const isLlama = (name: string) => name === LLAMA || RULES.sglang.bases[name]?.includes(LLAMA) === true;
const DEEPSEEK = /^Deepseek(V2|V3|V32)?ForCausalLM$/;
const names = (found: readonly { name: string }[]) => found.map(({ name }) => name);

function llamaBlocks({ layout, architectures, matrices }: Facts): Problem[] {
  const found = architectures.find(isLlama);
  if (layout !== "fp8_block128" || found === undefined) return [];
  return [
    {
      problem: `its ${found} looks for weight_scale, does not find weight_scale_inv, and computes NaN`,
      remedy: "`convert repack --to ct_fp8_block` has the same codes",
      file: "srt/models/llama.py",
      tensors: names(matrices),
    },
  ];
}

/** Scales of a matrix alone: parts that it fuses by their rows cannot have them. */
function fusedLatent({ layout, matrices }: Facts): Problem[] {
  const found = matrices.filter(({ name }) => /\.(q_a_proj|kv_a_proj_with_mqa)\.weight$/.test(name));
  if (!/^(ct_)?fp8_tensor$/.test(layout) || !found.some(({ name }) => name.includes("q_a_proj"))) return [];
  return [
    {
      problem: "it joins q_a_proj and kv_a_proj_with_mqa with their scales, of which each has one alone",
      remedy:
        "write fp8_block128, or keep them: --keep '*.q_a_proj.weight' --keep '*.kv_a_proj_with_mqa.weight'",
      file: "srt/models/deepseek_common/deepseek_weight_loader.py",
      tensors: names(found),
    },
  ];
}

/** W4A8 of compressed-tensors is for experts alone there, and its scales are found for none of ours. */
function ctInt4(facts: Facts): Problem[] {
  const found = facts.layout === "w4a8_g128_vllm" ? facts.matrices : experts(facts);
  if (!facts.layout.startsWith("w4a8_g128_vllm") || found.length === 0) return [];
  return [
    {
      problem: "its compressed-tensors has no W4A8 for these layers",
      remedy: "write ct_fp8_channel; DeepSeek's models can have w4a8_g128_sglang",
      file: "srt/layers/quantization/compressed_tensors/compressed_tensors.py",
      tensors: names(found),
    },
  ];
}

function tensorExperts(facts: Facts): Problem[] {
  const found = facts.layout === "ct_fp8_tensor" ? experts(facts) : [];
  if (found.length === 0) return [];
  return [
    {
      problem: "its experts take one scale for a matrix with static inputs alone",
      remedy: "write ct_fp8_channel",
      file: "srt/layers/quantization/compressed_tensors/schemes/compressed_tensors_w8a8_fp8_moe.py",
      tensors: names(found),
    },
  ];
}

/** Layers that stay, of those that w4afp8 takes for block FP8 unasked. */
function w4afp8({ layout, architectures, kept }: Facts): Problem[] {
  if (!W4AFP8.test(layout)) return [];
  const file = "srt/layers/quantization/w4afp8.py";
  if (!architectures.some((name) => DEEPSEEK.test(name)))
    return [
      {
        problem: "it reads w4afp8 for DeepSeek's models alone; others load with scales that nobody wrote",
        remedy: "write ct_fp8_channel",
        file,
      },
    ];
  const dense = kept.filter((name) => !isExpert(`${name}.weight`) && !/(^|\.)(lm_head|gate)$/.test(name));
  if (dense.length === 0) return [];
  return [
    {
      problem: "w4afp8 has no list of kept layers, and reads these as block FP8",
      remedy: "quantise them, or write ct_fp8_channel",
      file,
      tensors: dense,
    },
  ];
}

export const sglang: ReaderRules = {
  name: "SGLang",
  version: RULES.sglang.version,
  known: "loaded",
  problems: (facts) => [
    ...ownLayout(facts, "srt/layers/quantization/__init__.py"),
    ...llamaBlocks(facts),
    ...fusedLatent(facts),
    ...(CT.test(facts.layout) ? [...ctInt4(facts), ...tensorExperts(facts)] : []),
    ...w4afp8(facts),
  ],
};
