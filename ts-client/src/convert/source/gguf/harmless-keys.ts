/** Metadata that config.json says nothing of, and need not where they are as here. */
import type { Family } from "./families.js";
import type { Metadata } from "./metadata.js";
import type { MetadataValue } from "./values.js";

export interface ModelFacts {
  metadata: Metadata;
  family: Family;
  headDim: number;
  /** What queries are divided by the root of. */
  scalar: number;
}

type IsHarmless = (value: MetadataValue, facts: ModelFacts) => boolean;

/** One value, or the same one for every layer. */
const every =
  (fits: (value: unknown, facts: ModelFacts) => boolean): IsHarmless =>
  (value, facts) =>
    Array.isArray(value)
      ? value.length > 0 && value.every((one) => fits(one, facts))
      : typeof value !== "object" && fits(value, facts);

const is = (...values: unknown[]) => every((value) => values.includes(value));
const close = (a: number, b: number) => Math.abs(a - b) <= 1e-5 * Math.abs(b);
const anything: IsHarmless = () => true;
const headDim = every((value, facts) => value === facts.headDim);

export interface Harmless {
  keys: RegExp;
  fits: IsHarmless;
  /** What the value is to be, for a message; empty where it does not matter. */
  only: string;
}

const rule = (keys: RegExp, fits: IsHarmless, only: string): Harmless => ({ keys, fits, only });

/** By keys without the architecture. */
export const HARMLESS: readonly Harmless[] = [
  rule(/^rope\.scaling\.finetuned$|^tensor_data_layout$/, anything, ""),
  rule(/^rope\.scaling\.alpha$/, is(0, 1), "1"),
  rule(
    /^attention\.(value_length|(key|value)_length_swa)$|^rope\.dimension_count_swa$/,
    headDim,
    "as wide as key_length",
  ),
  rule(/^attention\.causal$/, is(true), "true"),
  rule(
    /^attention\.scale$/,
    every((value, { scalar }) => value === 0 || (typeof value === "number" && close(value, scalar ** -0.5))),
    "what the model class has",
  ),
  rule(
    /^attention\.layer_norm_epsilon$/,
    every((value, { metadata }) => value === metadata.own("attention.layer_norm_rms_epsilon")),
    "that of layer_norm_rms_epsilon",
  ),
  rule(
    /^attention\.sliding_window$/,
    every((value, { metadata }) => Number(value) === 0 || Number(value) >= metadata.count("context_length")),
    "0, or context_length and more",
  ),
  rule(
    /^rope\.freq_base_swa$/,
    every((value, { metadata }) => value === (metadata.own("rope.freq_base") ?? 10000)),
    "that of rope.freq_base",
  ),
  rule(/^rope\.dimension_sections$/, is(0), "0"),
  rule(/^expert_gating_func$/, is(0, 1), "1, softmax"),
  rule(
    /^expert_weights_norm$/,
    (value, { family }) => value === family.modelType.endsWith("moe"),
    "as the model class has it",
  ),
  rule(
    /^(expert_weights_scale|logit_scale|residual_scale|embedding_scale|attention\.output_scale)$/,
    is(0, 1),
    "1",
  ),
  rule(
    /^(expert_group_count|expert_group_used_count|experts_per_group|interleave_moe_layer_step|moe_every_n_layers)$/,
    is(0, 1),
    "1",
  ),
  rule(
    /^(expert_count|expert_used_count|expert_feed_forward_length|expert_shared_count|expert_shared_feed_forward_length|expert_chunk_feed_forward_length|leading_dense_block_count|nextn_predict_layers|(attn|final|router)_logit_softcapping|pooling_type|n_deepstack_layers|attention\.(max_alibi_bias|clamp_kqv|shared_kv_layers|temperature_length|temperature_scale|q_lora_rank|kv_lora_rank)|expert_group_scale|moe_latent_size|rescale_every_n_layers|token_shift_count|full_attention_interval|embedding_length_per_layer_input)$/,
    is(0),
    "0",
  ),
  rule(/^(use_parallel_residual|swin_norm)$/, is(false), "false"),
];
