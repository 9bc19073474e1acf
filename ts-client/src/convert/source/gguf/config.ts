/** Makes config.json from the metadata of a GGUF file. */
import { convertError } from "../../errors.js";
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
    metadata.optionalCount("attention.key_length") ??
    metadata.optionalCount("rope.dimension_count") ??
    hidden / heads;
  const kvHeads = metadata.optionalCount("attention.head_count_kv") ?? heads;
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
    ...tokenMembers(metadata, vocabularyOf(metadata, tensors)),
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
  const rows = vocabularyOf(metadata, tensors);
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
    rms_norm_eps: String(epsilonOf(metadata)),
    tie_word_embeddings: json(!has("lm_head.weight")),
    vocab_size: String(rows),
  };
}

/** Rows of the embedding, which are one for each token. */
function vocabularyOf(metadata: Metadata, tensors: readonly SourceTensor[]): number {
  const rows = tensors.find(({ name }) => name === "model.embed_tokens.weight")?.shape[0] ?? 0;
  const said = metadata.optionalCount("vocab_size") ?? rows;
  if (said === rows) return rows;
  throw convertError(
    "OPSWAP_E_SOURCE",
    `${metadata.file}: vocab_size is ${said}, and token_embd.weight has ${rows} rows`,
    "convert the original safetensors instead",
  );
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

/** What queries are divided by the root of. */
export function scalarOf({ modelType }: Family, { heads, hidden, headDim, layers }: Shape): number {
  return layers === BY_HIDDEN[modelType] ? hidden / heads : headDim;
}

function gemmaMembers(metadata: Metadata, family: Family, shape: Shape): Record<string, Text> {
  const { modelType, activation } = family;
  if (modelType === "gemma") return { hidden_activation: json(activation) };
  const caps = ["attn_logit_softcapping", "final_logit_softcapping"].flatMap((key) => {
    const value = metadata.between(key, 0, 1e6);
    // 0 is none: transformers would divide by it.
    return value === undefined ? [] : [[key, value === 0 ? "null" : float(value)] as const];
  });
  const local = metadata.between("rope.freq_base_swa", 1e-3, 3.5e38) ?? 10000;
  const window =
    metadata.optionalCount("attention.sliding_window") ?? (modelType === "gemma2" ? 4096 : undefined);
  return {
    hidden_activation: json(activation),
    layer_types: json(layerTypes(metadata, modelType, shape.layers)),
    query_pre_attn_scalar: String(scalarOf(family, shape)),
    sliding_window: String(window ?? metadata.count("attention.sliding_window")),
    ...(modelType === "gemma3_text" ? { rope_local_base_freq: float(local) } : {}),
    ...Object.fromEntries(caps),
  };
}

/** By a period, of which the last layer attends to everything, or by a list of those that do not. */
function layerTypes(metadata: Metadata, modelType: string, layers: number): string[] {
  const key = "attention.sliding_window_pattern";
  const pattern = metadata.raw(key) ?? (modelType === "gemma2" ? 2 : 6);
  const word = (sliding: boolean) => (sliding ? "sliding_attention" : "full_attention");
  if (Array.isArray(pattern) && pattern.length === layers && pattern.every((one) => typeof one === "boolean"))
    return pattern.map(word);
  if (typeof pattern === "number" && Number.isInteger(pattern) && pattern >= 0)
    return Array.from({ length: layers }, (_, i) => word(pattern === 0 || (i + 1) % pattern !== 0));
  throw convertError(
    "OPSWAP_E_SOURCE",
    `${metadata.file}: ${metadata.architecture}.${key} is neither a period nor true or false for each of ${layers} layers`,
    "convert the original safetensors instead",
  );
}

function epsilonOf(metadata: Metadata): number {
  const key = "attention.layer_norm_rms_epsilon";
  return metadata.between(key, 0, 1) ?? metadata.need(key);
}

function tokenMembers(metadata: Metadata, rows: number): Record<string, Text> {
  const id = (name: string) => tokenId(metadata, `tokenizer.ggml.${name}_token_id`, rows);
  const [bos, eos, pad, turn, message] = ["bos", "eos", "padding", "eot", "eom"].map(id);
  const ends = [...new Set([eos, turn, message].filter((one) => one !== undefined))];
  return {
    ...(bos === undefined ? {} : { bos_token_id: String(bos) }),
    ...(ends.length === 0 ? {} : { eos_token_id: ends.length === 1 ? String(ends[0]) : json(ends) }),
    ...(pad === undefined ? {} : { pad_token_id: String(pad) }),
  };
}

function tokenId(metadata: Metadata, key: string, rows: number): number | undefined {
  const id = metadata.token(key);
  if (id === undefined || id < rows) return id;
  throw convertError(
    "OPSWAP_E_SOURCE",
    `${metadata.file}: ${key} is ${id}, and there are ${rows} tokens`,
    `mend it: \`gguf-set-metadata\` of the package gguf`,
  );
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
  if (!Number.isInteger(headDim) || heads % kvHeads !== 0)
    throw wrong(`${heads} heads of ${headDim} elements and ${kvHeads} of keys and values are no attention`);
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
