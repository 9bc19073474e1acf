/** The parameters of vLLM's models, and how tensor-parallel ranks share each. */
import { z } from "zod";
import { convertError } from "../errors.js";
import type { Source } from "../source/source.js";
import { parseJsonText } from "../text/python-json.js";

/** How ranks share a parameter. Rows of k and v are heads, of which several ranks may have the same. */
export type Cut = "vocabulary" | "rows" | "kv rows" | "columns" | "whole";

/** A parameter of the engine's model: tensors of the checkpoint, one below the other. */
export interface Parameter {
  /** Which of the parts is written: `.weight` or `.bias` and what belongs to it follow. */
  module: string;
  field: "weight" | "bias";
  members: readonly { name: string; cut: Cut }[];
  /** Of a layer's attention, beside whose output projection its scales are written. */
  attention: string | null;
}

/** What decides how vLLM's Llama-like models are cut. */
export interface RankedModel {
  heads: number;
  kvHeads: number;
  headRows: number;
  vocabulary: number;
  parameters: readonly Parameter[];
  /** Tensors that the engine makes itself or skips. */
  skipped(name: string): boolean;
}

const positive = z.number().int().positive();
const shape = z.object({
  architectures: z.array(z.string()).min(1),
  num_hidden_layers: positive,
  num_attention_heads: positive,
  num_key_value_heads: positive.nullish(),
  hidden_size: positive,
  head_dim: positive.nullish(),
  vocab_size: positive,
  tie_word_embeddings: z.boolean().nullish(),
  attention_bias: z.boolean().nullish(),
  bias: z.boolean().nullish(),
  qkv_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
});
type Config = z.infer<typeof shape>;

interface Family {
  qkvBias(config: Config): boolean;
  outputBias(config: Config): boolean;
  mlpBias(config: Config): boolean;
  headNorms: boolean;
  /** Whether it looks at head_dim. */
  headDim: boolean;
}

/** By architecture, as vLLM 0.33.0 builds them. */
const FAMILIES: Readonly<Record<string, Family>> = {
  LlamaForCausalLM: {
    qkvBias: (config) => config.qkv_bias ?? (config.attention_bias || config.bias) ?? false,
    outputBias: (config) => (config.attention_bias || config.bias) ?? false,
    mlpBias: (config) => config.mlp_bias ?? false,
    headNorms: false,
    headDim: true,
  },
  Qwen2ForCausalLM: {
    qkvBias: () => true,
    outputBias: () => false,
    mlpBias: () => false,
    headNorms: false,
    headDim: false,
  },
  Qwen3ForCausalLM: {
    qkvBias: (config) => config.attention_bias ?? false,
    outputBias: () => false,
    mlpBias: () => false,
    headNorms: true,
    headDim: true,
  },
};

/** Refuses models of which this version does not know how vLLM cuts them. */
export function rankedModel(source: Source): RankedModel {
  const parsed = shape.safeParse(source.config === null ? null : parseJsonText(source.config));
  if (!parsed.success)
    throw convertError(
      "OPSWAP_E_CANNOT_CONVERT",
      `${source.folder}: files for ranks need a config.json with the model's shape: ${z.prettifyError(parsed.error)}`,
      "give the folder of the whole checkpoint",
    );
  const config = parsed.data;
  const [architecture = ""] = config.architectures;
  const family = Object.hasOwn(FAMILIES, architecture) ? FAMILIES[architecture] : undefined;
  if (family === undefined)
    throw convertError(
      "OPSWAP_E_CANNOT_CONVERT",
      `files for ranks: ${architecture} is none of ${Object.keys(FAMILIES).join(", ")}, whose parameters are known`,
      "leave --tensor-parallel out: engines cut an unsharded checkpoint when they load it",
    );
  const tied = config.tie_word_embeddings ?? false;
  return {
    heads: config.num_attention_heads,
    kvHeads: config.num_key_value_heads ?? config.num_attention_heads,
    headRows: (family.headDim ? config.head_dim : null) ?? config.hidden_size / config.num_attention_heads,
    vocabulary: config.vocab_size,
    parameters: [...outer(tied), ...layers(config, family)],
    skipped: (name) => name.endsWith("rotary_emb.inv_freq") || (tied && name === "lm_head.weight"),
  };
}

const EMBEDDING = "model.embed_tokens";

const single = (
  module: string,
  cut: Cut,
  field: Parameter["field"] = "weight",
  from = module,
): Parameter => ({
  module,
  field,
  members: [{ name: `${from}.${field}`, cut }],
  attention: null,
});

/** Of parameters that share their memory vLLM 0.33.0 asks for the first name in the alphabet. */
function outer(tied: boolean): Parameter[] {
  const rest = tied ? [] : [single(EMBEDDING, "vocabulary")];
  const head = single("lm_head", "vocabulary", "weight", tied ? EMBEDDING : "lm_head");
  return [...rest, single("model.norm", "whole"), head];
}

function layers(config: Config, family: Family): Parameter[] {
  const { num_hidden_layers: count } = config;
  return Array.from({ length: count }, (_, i) => layer(`model.layers.${i}`, config, family)).flat();
}

function layer(at: string, config: Config, family: Family): Parameter[] {
  const [attention, mlp] = [`${at}.self_attn`, `${at}.mlp`];
  const fields = (biased: boolean) => (biased ? (["weight", "bias"] as const) : (["weight"] as const));
  const fused = (parent: string, module: string, biased: boolean, parts: [string, Cut][]) =>
    fields(biased).map((field) => ({
      module: `${parent}.${module}`,
      field,
      members: parts.map(([leaf, cut]) => ({ name: `${parent}.${leaf}.${field}`, cut })),
      attention: null,
    }));
  // Every rank has the whole bias of what ranks add up; one of them uses it.
  const summed = (module: string, biased: boolean) =>
    fields(biased).map((field) => single(module, field === "weight" ? "columns" : "whole", field));
  const [output, ...outputBias] = summed(`${attention}.o_proj`, family.outputBias(config));
  return [
    ...fused(attention, "qkv_proj", family.qkvBias(config), [
      ["q_proj", "rows"],
      ["k_proj", "kv rows"],
      ["v_proj", "kv rows"],
    ]),
    ...(output ? [{ ...output, attention: `${attention}.attn` }] : []),
    ...outputBias,
    ...(family.headNorms ? ["q_norm", "k_norm"].map((leaf) => single(`${attention}.${leaf}`, "whole")) : []),
    ...fused(mlp, "gate_up_proj", family.mlpBias(config), [
      ["gate_proj", "rows"],
      ["up_proj", "rows"],
    ]),
    ...summed(`${mlp}.down_proj`, family.mlpBias(config)),
    ...["input_layernorm", "post_attention_layernorm"].map((leaf) => single(`${at}.${leaf}`, "whole")),
  ];
}
