/** What SGLang does not load right, and what to do. */
import { isExpert } from "../source/layer-names.js";
import { experts, ownLayout, problemOf, W4AFP8 } from "./layouts.js";
import { RULES } from "./rules.js";
import type { OutputFacts, Problem, ReaderRules } from "./types.js";

const LLAMA = "LlamaForCausalLM";
/** Whether a model is its class for Llama, or made of it. */
const isLlama = (name: string) => name === LLAMA || RULES.sglang.bases[name]?.includes(LLAMA) === true;
const DEEPSEEK = /^Deepseek(V2|V3|V32)?ForCausalLM$/;

function llamaBlocks({ layout, architectures, matrices }: OutputFacts): Problem[] {
  const found = architectures.find(isLlama);
  return problemOf(layout === "fp8_block128" && found !== undefined ? matrices : [], {
    problem: `its ${found} looks for weight_scale, does not find weight_scale_inv, and computes NaN`,
    remedy: "`convert repack --to ct_fp8_block` has the same codes",
    file: "srt/models/llama.py",
  });
}

/** Scales of a matrix alone: parts that it fuses by their rows cannot have them. */
function fusedLatent({ layout, matrices }: OutputFacts): Problem[] {
  const found = matrices.filter(({ name }) => /\.(q_a_proj|kv_a_proj_with_mqa)\.weight$/.test(name));
  const fused = /^(ct_)?fp8_tensor$/.test(layout) && found.some(({ name }) => name.includes("q_a_proj"));
  return problemOf(fused ? found : [], {
    problem: "it joins q_a_proj and kv_a_proj_with_mqa with their scales, of which each has one alone",
    remedy:
      "write fp8_block128, or keep them: --keep '*.q_a_proj.weight' --keep '*.kv_a_proj_with_mqa.weight'",
    file: "srt/models/deepseek_common/deepseek_weight_loader.py",
  });
}

/** W4A8 of compressed-tensors is for experts alone there, and its scales are found for none of ours. */
function ctInt4(facts: OutputFacts): Problem[] {
  const coded = facts.layout === "w4a8_g128_vllm" ? facts.matrices : experts(facts);
  return problemOf(facts.layout.startsWith("w4a8_g128_vllm") ? coded : [], {
    problem: "its compressed-tensors has no W4A8 for these layers",
    remedy: "write ct_fp8_channel; DeepSeek's models can have w4a8_g128_sglang",
    file: "srt/layers/quantization/compressed_tensors/compressed_tensors.py",
  });
}

/** Its attention of GPT-OSS takes no notice of a quantisation, and loads bare codes. */
function gptOss({ architectures, matrices }: OutputFacts): Problem[] {
  const its = architectures.some((name) => name.startsWith("GptOss"));
  return problemOf(its ? matrices.filter(({ name }) => !isExpert(name)) : [], {
    problem: "it builds GPT-OSS's attention unquantised, and loads bare codes",
    remedy: "write bf16",
    file: "srt/models/gpt_oss.py",
  });
}

/** The text model of Llama 4 alone: what loads its experts is in the class for text and images. */
function llama4({ architectures }: OutputFacts): Problem[] {
  if (!architectures.includes("Llama4ForCausalLM")) return [];
  return [
    {
      problem: "its Llama4ForCausalLM never reads stacked experts, in any layout",
      remedy: "serve it with vLLM, or as Llama4ForConditionalGeneration",
      file: "srt/models/llama4.py",
    },
  ];
}

const W4AFP8_FILE = "srt/layers/quantization/w4afp8.py";

function w4afp8(facts: OutputFacts): Problem[] {
  if (!W4AFP8.test(facts.layout)) return [];
  const { architectures } = facts;
  const mixture = experts(facts).length > 0 && !architectures.some((name) => DEEPSEEK.test(name));
  if (!mixture && !architectures.some(isLlama)) return keptDense(facts);
  return [
    {
      problem: mixture
        ? "it reads w4afp8's experts for DeepSeek's models alone; others get input scales that nobody wrote"
        : "its Llama class looks for weight_scale, and does not find weight_scale_inv",
      remedy: "write ct_fp8_channel",
      file: W4AFP8_FILE,
    },
  ];
}

/** Layers that stay, of those that w4afp8 takes for block FP8 unasked. */
function keptDense({ kept }: OutputFacts): Problem[] {
  const dense = kept.filter((name) => !isExpert(`${name}.weight`) && !/(^|\.)(lm_head|gate)$/.test(name));
  return problemOf(
    dense.map((name) => ({ name })),
    {
      problem: "w4afp8 has no list of kept layers, and reads these as block FP8",
      remedy: "quantise them, or write ct_fp8_channel",
      file: W4AFP8_FILE,
    },
  );
}

export const sglang: ReaderRules = {
  name: "SGLang",
  version: RULES.sglang.version,
  known: "loaded",
  problems: (facts) => [
    ...ownLayout(facts, "srt/layers/quantization/__init__.py"),
    ...llama4(facts),
    ...gptOss(facts),
    ...llamaBlocks(facts),
    ...fusedLatent(facts),
    ...ctInt4(facts),
    ...w4afp8(facts),
  ],
};
