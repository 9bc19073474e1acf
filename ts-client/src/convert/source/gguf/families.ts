/** Architectures of GGUF that are read, and the names of their tensors. */
import { convertError } from "../../errors.js";

/** Names of a layer's tensors after `blk.N.`, and after `model.layers.N.`. */
type Names = Readonly<Record<string, string>>;

/** An architecture of GGUF, and the model class of transformers that it is. */
export interface Family {
  modelClass: string;
  modelType: string;
  names: Names;
  /** Rows of q and k lie in pairs. */
  paired: boolean;
  /** Norms are stored with 1 added. */
  raisedNorms: boolean;
  activation: string;
}

const GLOBAL: Names = {
  token_embd: "model.embed_tokens",
  output_norm: "model.norm",
  output: "lm_head",
};
const PLAIN: Names = {
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  ffn_norm: "post_attention_layernorm",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};
const HEAD_NORMS: Names = { attn_q_norm: "self_attn.q_norm", attn_k_norm: "self_attn.k_norm" };
const FOUR_NORMS: Names = {
  post_attention_norm: "post_attention_layernorm",
  ffn_norm: "pre_feedforward_layernorm",
  post_ffw_norm: "post_feedforward_layernorm",
};
const EXPERTS: Names = {
  ffn_gate_inp: "mlp.gate",
  ffn_gate_exps: "mlp.experts.*.gate_proj",
  ffn_up_exps: "mlp.experts.*.up_proj",
  ffn_down_exps: "mlp.experts.*.down_proj",
};

const plain = { paired: false, raisedNorms: false, activation: "silu" };
const gemma = { paired: false, raisedNorms: true, activation: "gelu_pytorch_tanh" };

export const FAMILIES: ReadonlyMap<string, Family> = new Map<string, Family>([
  ["llama", { ...plain, modelClass: "LlamaForCausalLM", modelType: "llama", names: PLAIN, paired: true }],
  ["qwen2", { ...plain, modelClass: "Qwen2ForCausalLM", modelType: "qwen2", names: PLAIN }],
  [
    "qwen3",
    { ...plain, modelClass: "Qwen3ForCausalLM", modelType: "qwen3", names: { ...PLAIN, ...HEAD_NORMS } },
  ],
  [
    "qwen3moe",
    {
      ...plain,
      modelClass: "Qwen3MoeForCausalLM",
      modelType: "qwen3_moe",
      names: { ...PLAIN, ...HEAD_NORMS, ...EXPERTS },
    },
  ],
  ["gemma", { ...gemma, modelClass: "GemmaForCausalLM", modelType: "gemma", names: PLAIN }],
  [
    "gemma2",
    { ...gemma, modelClass: "Gemma2ForCausalLM", modelType: "gemma2", names: { ...PLAIN, ...FOUR_NORMS } },
  ],
  [
    "gemma3",
    {
      ...gemma,
      modelClass: "Gemma3ForCausalLM",
      modelType: "gemma3_text",
      names: { ...PLAIN, ...HEAD_NORMS, ...FOUR_NORMS },
    },
  ],
]);

export function familyOf(file: string, architecture: string): Family {
  const family = FAMILIES.get(architecture);
  if (family !== undefined) return family;
  const known = [...FAMILIES.keys()].join(", ");
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `${file} is of architecture ${architecture.slice(0, 80)}`,
    `architectures that are read: ${known}`,
  );
}

const LAYER = /^blk\.(?<layer>0|[1-9]\d{0,5})\.(?<part>\w+)\.(?<kind>weight|bias)$/;
const OTHER = /^(?<part>\w+)\.(?<kind>weight|bias)$/;

/** The name that transformers and engines have for a tensor; `*` is an expert's number. undefined: none is known. */
export function nameOf(family: Family, name: string): string | undefined {
  const { layer, part = "", kind } = (LAYER.exec(name) ?? OTHER.exec(name))?.groups ?? {};
  const names = layer === undefined ? GLOBAL : family.names;
  if (!Object.hasOwn(names, part)) return undefined;
  return `${layer === undefined ? "" : `model.layers.${layer}.`}${names[part]}.${kind}`;
}
