import { convertError } from "../errors.js";
import type { SourceTensor } from "../source.js";
import type { Family } from "./families.js";
import type { Metadata } from "./metadata.js";
import { type Rope, ropeOf } from "./rope.js";

/** A value as JSON writes it; floats keep a point, which strict readers of configs need. */
type Text = string;
const float = (value: number): Text => String(value).replace(/^-?\d+$/, "$&.0");
const json = (value: unknown): Text => JSON.stringify(value);

export interface Shape {
  heads: number;
  kvHeads: number;
  headDim: number;
  hidden: number;
  layers: number;
}

export function shapeOf(metadata: Metadata): Shape {
  const heads = metadata.count("attention.head_count");
  const hidden = metadata.count("embedding_length");
  const headDim =
    metadata.own("attention.key_length") ?? metadata.own("rope.dimension_count") ?? hidden / heads;
  const kvHeads = metadata.own("attention.head_count_kv") ?? heads;
  return { heads, kvHeads, headDim, hidden, layers: metadata.count("block_count") };
}

/** config.json of the model in a GGUF file. `factors` are those of its tensor rope_freqs, if it has one. */
export function configOf(
  metadata: Metadata,
  family: Family,
  tensors: readonly SourceTensor[],
  factors: Float32Array | null,
): string {
  const shape = shapeOf(metadata);
  checkShapes(metadata, shape, tensors);
  const members = {
    ...basics(metadata, family, shape, tensors),
    ...ropeMembers(ropeOf(metadata, shape.headDim, factors)),
    ...(family.modelType === "qwen3_moe" ? expertMembers(metadata) : {}),
    ...(family.modelType.startsWith("gemma") ? gemmaMembers(metadata, family, shape) : {}),
    ...tokenMembers(metadata),
    torch_dtype: json("bfloat16"),
  };
  const lines = Object.entries(members).map(([key, text]) => `  ${json(key)}: ${text}`);
  return `{\n${lines.join(",\n")}\n}\n`;
}

function basics(
  metadata: Metadata,
  family: Family,
  { heads, kvHeads, headDim, hidden, layers }: Shape,
  tensors: readonly SourceTensor[],
): Record<string, Text> {
  const has = (name: string) => tensors.some((tensor) => tensor.name.endsWith(name));
  const rows = tensors.find(({ name }) => name === "model.embed_tokens.weight")?.shape[0];
  const bias = family.modelType === "qwen2" ? {} : { attention_bias: json(has("q_proj.bias")) };
  return {
    architectures: json([family.modelClass]),
    model_type: json(family.modelType),
    ...bias,
    head_dim: String(headDim),
    hidden_act: json(family.activation),
    hidden_size: String(hidden),
    intermediate_size: String(metadata.count("feed_forward_length")),
    max_position_embeddings: String(metadata.count("context_length")),
    ...(family.modelType === "llama" ? { mlp_bias: json(has("down_proj.bias")) } : {}),
    num_attention_heads: String(heads),
    num_hidden_layers: String(layers),
    num_key_value_heads: String(kvHeads),
    rms_norm_eps: String(metadata.need("attention.layer_norm_rms_epsilon")),
    tie_word_embeddings: json(!has("lm_head.weight")),
    vocab_size: String(rows),
  };
}

function ropeMembers({ theta, scaling }: Rope): Record<string, Text> {
  const parts = Object.entries(scaling ?? {}).map(([key, value]) => {
    const whole = key === "original_max_position_embeddings";
    return `${json(key)}: ${typeof value === "number" ? (whole ? String(value) : float(value)) : json(value)}`;
  });
  return {
    rope_theta: float(theta),
    ...(scaling === null ? {} : { rope_scaling: `{${parts.join(", ")}}` }),
  };
}

function expertMembers(metadata: Metadata): Record<string, Text> {
  return {
    decoder_sparse_step: "1",
    mlp_only_layers: "[]",
    moe_intermediate_size: String(metadata.count("expert_feed_forward_length")),
    norm_topk_prob: "true",
    num_experts: String(metadata.count("expert_count")),
    num_experts_per_tok: String(metadata.count("expert_used_count")),
  };
}

/** Layers of the models whose queries are scaled by the width of a head as if all heads shared the hidden size. */
const BY_HIDDEN: Readonly<Record<string, number>> = { gemma2: 46, gemma3_text: 62 };

function gemmaMembers(
  metadata: Metadata,
  { modelType, activation }: Family,
  shape: Shape,
): Record<string, Text> {
  if (modelType === "gemma") return { hidden_activation: json(activation) };
  const { heads, hidden, headDim, layers } = shape;
  const scalar = layers === BY_HIDDEN[modelType] ? hidden / heads : headDim;
  const period = modelType === "gemma2" ? 2 : 6;
  const types = Array.from({ length: layers }, (_, i) =>
    (i + 1) % period === 0 ? "full_attention" : "sliding_attention",
  );
  const caps = ["attn_logit_softcapping", "final_logit_softcapping"].flatMap((key) => {
    const value = metadata.own(key);
    return value === undefined ? [] : [[key, float(value)] as const];
  });
  return {
    hidden_activation: json(activation),
    layer_types: json(types),
    query_pre_attn_scalar: String(scalar),
    sliding_window: String(metadata.count("attention.sliding_window")),
    ...(modelType === "gemma3_text" ? { rope_local_base_freq: float(10000) } : {}),
    ...Object.fromEntries(caps),
  };
}

function tokenMembers(metadata: Metadata): Record<string, Text> {
  const id = (name: string) => metadata.number(`tokenizer.ggml.${name}_token_id`);
  const [bos, eos, pad, turn] = [id("bos"), id("eos"), id("padding"), id("eot")];
  const ends = [...new Set([eos, turn].filter((one) => one !== undefined))];
  return {
    ...(bos === undefined ? {} : { bos_token_id: String(bos) }),
    ...(ends.length === 0 ? {} : { eos_token_id: ends.length === 1 ? String(ends[0]) : json(ends) }),
    ...(pad === undefined ? {} : { pad_token_id: String(pad) }),
  };
}

/** What the metadata say and the tensors are must be one model. */
function checkShapes(metadata: Metadata, shape: Shape, tensors: readonly SourceTensor[]): void {
  const { heads, kvHeads, headDim, hidden, layers } = shape;
  const rotated = metadata.own("rope.dimension_count") ?? headDim;
  const wanted: [string, number, number][] = [
    ["self_attn.q_proj.weight", heads * headDim, hidden],
    ["self_attn.k_proj.weight", kvHeads * headDim, hidden],
    ["mlp.down_proj.weight", hidden, metadata.count("feed_forward_length")],
  ];
  const wrong = (problem: string) => convertError("OPSWAP_E_SOURCE", `${metadata.file}: ${problem}`);
  if (rotated !== headDim)
    throw wrong(`rotates ${rotated} of ${headDim} elements of a head, which is not read`);
  const embedding = tensors.find(({ name }) => name === "model.embed_tokens.weight");
  if (embedding?.shape.length !== 2 || embedding.shape[1] !== hidden)
    throw wrong(`has no token_embd.weight of ${hidden} columns, which its metadata call for`);
  checkLayers(metadata.file, layers, tensors);
  for (const { name, shape: found } of tensors) {
    const [, rows, columns] = wanted.find(([end]) => name.endsWith(end)) ?? [];
    const layer = Number(/^model\.layers\.(\d+)\./.exec(name)?.[1] ?? 0);
    if (layer >= layers) throw wrong(`${name} is beyond its ${layers} layers`);
    if (rows !== undefined && (found[0] !== rows || found[1] !== columns))
      throw wrong(`${name} is [${found.join(", ")}]; its metadata call for [${rows}, ${columns}]`);
  }
}

/** Every layer has all matrices that the first has, and those that no model of these families lacks. */
function checkLayers(file: string, layers: number, tensors: readonly SourceTensor[]): void {
  const found = new Map<string, Set<string>>();
  for (const { name } of tensors) {
    const { layer, rest } = /^model\.layers\.(?<layer>\d+)\.(?<rest>.*)$/.exec(name)?.groups ?? {};
    if (layer === undefined || rest === undefined) continue;
    found.set(layer, (found.get(layer) ?? new Set()).add(rest));
  }
  const wrong = (problem: string) => convertError("OPSWAP_E_SOURCE", `${file}: ${problem}`);
  const first = found.get("0") ?? new Set();
  const experts = [...first].some((rest) => rest.startsWith("mlp.experts."));
  const mlp = experts ? [] : ["gate", "up", "down"].map((leaf) => `mlp.${leaf}_proj.weight`);
  const needed = [...["q", "k", "v", "o"].map((leaf) => `self_attn.${leaf}_proj.weight`), ...mlp, ...first];
  for (let layer = 0; layer < layers; layer++) {
    const there = found.get(String(layer));
    if (there === undefined)
      throw wrong(`has no tensor of layer ${layer}, and ${layers} layers by its metadata`);
    const missing = needed.find((rest) => !there.has(rest));
    if (missing !== undefined) throw wrong(`layer ${layer} has no ${missing}`);
  }
}
