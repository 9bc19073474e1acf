import type { SourceTensor } from "./source.js";

/** What happens to a tensor, and why. */
export interface Decision {
  quantize: boolean;
  why: string;
  /** A layer that loaders ask about by name, and not an embedding or a norm. */
  layer: boolean;
}

/** Which tensors the user wants kept or quantised beyond the policy's own choice; `*` stands for anything. */
export interface PolicyOptions {
  name: PolicyName;
  keep: readonly string[];
  quantize: readonly string[];
}

interface Rule {
  pattern: RegExp;
  why: string;
  layer: boolean;
}

/** Matrices that engines load in their own precision. First match decides. */
export const KEPT: readonly Rule[] = [
  {
    pattern: /(^|\.)(embed_tokens|wte|wpe|tok_embeddings|(word|position|token_type)_embeddings|embed\w*)\./,
    why: "embedding",
    layer: false,
  },
  { pattern: /(^|\.)(lm_head|embed_out|output)\.weight$/, why: "output head", layer: true },
  { pattern: /(^|[._])(\w*norm\w*|ln_?\w+)\.weight$/, why: "norm", layer: false },
  {
    pattern: /(^|\.)(router|gate|shared_expert_gate|gate_network)(\.wg|\.layer)?\.weight$/,
    why: "router",
    layer: true,
  },
  { pattern: /(^|\.)(score|classifier|cls|pooler|value_head|v_head)(\.|$)/, why: "head", layer: true },
  { pattern: /(^|\.)indexer\.weights_proj\./, why: "indexer's weights", layer: true },
  {
    pattern: /(^|\.)(visual|vision\w*|audio\w*|multi_modal_projector|patch_embed\w*)\./,
    why: "vision or audio",
    layer: true,
  },
  { pattern: /(^|\.)conv\w*\./, why: "convolution", layer: false },
];

export const POLICIES = {
  linear: "every linear layer of the language model",
  experts: "the experts of a mixture-of-experts model alone",
} as const;
export type PolicyName = keyof typeof POLICIES;

/** Element types that can be quantised as they are. */
const FLOATS = new Set(["BF16", "F16", "F32"]);
export const isFloat = (tensor: SourceTensor) => FLOATS.has(tensor.dtype) || tensor.stored !== undefined;
/** Parameters that models keep in float32 whatever the rest is in: a few numbers that decide between experts. */
const PRECISE = /(^|\.)e_score_correction_bias$/;
const EXPERT = /(^|\.)experts\.\d+\./;

const keep = (why: string, layer = false): Decision => ({ quantize: false, why, layer });

/** For a layout that quantises nothing: what is rounded to BF16. */
export function decideRounding(tensor: SourceTensor, options: PolicyOptions): Decision {
  const { name, dtype, stored } = tensor;
  const round = (why: string): Decision => ({ quantize: true, why, layer: false });
  if (stored !== undefined) return round(`stored as ${dtype}`);
  if (dtype === "BF16") return keep("BF16 already");
  if (!FLOATS.has(dtype) && dtype !== "F64") return keep(`${dtype} is not rounded`);
  const kept = options.keep.find((pattern) => glob(pattern).test(name));
  if (kept !== undefined) return keep(`asked for: --keep ${kept}`);
  return PRECISE.test(name) ? keep("models keep it in float32") : round(`${dtype} is rounded`);
}

export function decide(tensor: SourceTensor, options: PolicyOptions): Decision {
  const { name, shape, dtype } = tensor;
  if (shape.length !== 2)
    return keep(`${shape.length === 1 ? "a vector" : `${shape.length} dimensions`}, not a matrix`);
  if (!name.endsWith(".weight")) return keep("not named .weight, where scales would be looked for");
  if (!isFloat(tensor)) return keep(`${dtype} is not quantised`);
  if (shape.includes(0)) return keep("empty");
  const asked = (patterns: readonly string[]) => patterns.find((pattern) => glob(pattern).test(name));
  const kept = asked(options.keep);
  if (kept !== undefined) return keep(`asked for: --keep ${kept}`, true);
  const wanted = asked(options.quantize);
  if (wanted !== undefined) return { quantize: true, why: `asked for: --quantize ${wanted}`, layer: true };
  const rule = KEPT.find(({ pattern }) => pattern.test(name));
  if (rule !== undefined) return keep(rule.why, rule.layer);
  if (options.name === "experts" && !EXPERT.test(name)) return keep("not an expert", true);
  return { quantize: true, why: EXPERT.test(name) ? "expert" : "linear layer", layer: true };
}

/** A name pattern in which `*` is any run of characters. */
export function glob(pattern: string): RegExp {
  const literal = pattern.replace(/[.+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${literal.replaceAll("*", ".*")}$`);
}
