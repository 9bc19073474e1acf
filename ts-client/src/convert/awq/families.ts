/** Model families that AWQ can scale: in each, which norm or matrix may take the inverse of a linear layer's scales. */

/** A norm, and what reads its output; names are those of modules within a layer. */
export interface NormRule {
  norm: string;
  /** The module whose parts the norm feeds. Parts that neither pattern names make a model an unknown one. */
  within: string;
  readers: RegExp;
  others: RegExp;
}

/** A matrix whose rows are, one by one, the columns of another. */
export interface RowRule {
  from: RegExp;
  /** The other's name, after the last dot. */
  into: string;
  /** Whether heads of `from` serve several of `into`. */
  heads?: boolean;
}

export interface Family {
  norms: readonly NormRule[];
  rows: readonly RowRule[];
  /** Whether norms multiply by 1 + weight. */
  plusOne: boolean;
}

const attention: NormRule = {
  norm: "input_layernorm",
  within: "self_attn",
  readers: /^self_attn\.[qkv]_proj$/,
  others: /^self_attn\.(o_proj|q_norm|k_norm|rotary_emb)$/,
};

const LATENT = /^self_attn\.(o_proj|q_a_layernorm|q_b_proj|kv_a_layernorm|kv_b_proj|rotary_emb)$/;
const NEVER = /^$/;
const latentAttention: readonly NormRule[] = [
  {
    norm: "input_layernorm",
    within: "self_attn",
    readers: /^self_attn\.(q_proj|q_a_proj|kv_a_proj_with_mqa)$/,
    others: LATENT,
  },
  { norm: "self_attn.q_a_layernorm", within: "", readers: /^self_attn\.q_b_proj$/, others: NEVER },
  { norm: "self_attn.kv_a_layernorm", within: "", readers: /^self_attn\.kv_b_proj$/, others: NEVER },
];

/** Dense, or with experts and a router. */
const mlp = (norm: string): NormRule => ({
  norm,
  within: "mlp",
  readers: /^mlp\.(gate|shared_expert_gate|((experts\.\d+|shared_experts?)\.)?(gate_proj|up_proj))$/,
  others: /^mlp\.((experts\.\d+|shared_experts?)\.)?down_proj$/,
});

const values: RowRule = { from: /^self_attn\.v_proj$/, into: "o_proj", heads: true };
const gated: RowRule = { from: /^mlp\.(.+\.)?up_proj$/, into: "down_proj" };

const llama: Family = {
  norms: [attention, mlp("post_attention_layernorm")],
  rows: [values, gated],
  plusOne: false,
};
const mixtral: Family = {
  ...llama,
  norms: [
    attention,
    {
      norm: "post_attention_layernorm",
      within: "block_sparse_moe",
      readers: /^block_sparse_moe\.(gate|experts\.\d+\.(w1|w3))$/,
      others: /^block_sparse_moe\.experts\.\d+\.w2$/,
    },
  ],
  rows: [values, { from: /^block_sparse_moe\.experts\.\d+\.w3$/, into: "w2" }],
};
const deepseek: Family = {
  norms: [...latentAttention, mlp("post_attention_layernorm")],
  rows: [gated],
  plusOne: false,
};
const gemma: Family = { ...llama, plusOne: true };
const gemma2: Family = { ...gemma, norms: [attention, mlp("pre_feedforward_layernorm")] };

/** By `model_type`: only of these it is known that nothing else reads what a norm makes. */
export const FAMILIES: ReadonlyMap<string, Family> = new Map([
  ...["llama", "mistral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe"].map((name): [string, Family] => [
    name,
    llama,
  ]),
  ["mixtral", mixtral],
  ["deepseek_v2", deepseek],
  ["deepseek_v3", deepseek],
  ["gemma", gemma],
  ["gemma2", gemma2],
  ["gemma3", gemma2],
  ["gemma3_text", gemma2],
]);
