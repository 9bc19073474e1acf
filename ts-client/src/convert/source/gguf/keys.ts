/** What becomes of each metadata key: nothing is dropped in silence. */
import { convertError } from "../../errors.js";
import { HARMLESS, type ModelFacts } from "./harmless-keys.js";
import type { MetadataValue } from "./values.js";

export interface KeyFate {
  key: string;
  /** Where it went, or why it went nowhere. */
  fate: "config.json" | "tokenizer" | "file" | "harmless" | "refused";
  why?: string;
}

/** What config.ts and rope.ts read and check, by keys without the architecture. */
const READ =
  /^(vocab_size|context_length|embedding_length|block_count|feed_forward_length|attention\.(head_count|head_count_kv|key_length|layer_norm_rms_epsilon)|rope\.(dimension_count|freq_base|scale_linear)|rope\.scaling\.(type|factor|original_context_length|attn_factor|yarn_(ext_factor|attn_factor|beta_fast|beta_slow|log_multiplier)))$/;
const GEMMA =
  /^(attention\.sliding_window|attention\.sliding_window_pattern|(attn|final)_logit_softcapping)$/;
const GEMMA3 = /^rope\.freq_base_swa$/;
const EXPERTS = /^(expert_count|expert_used_count|expert_feed_forward_length)$/;

/** How the file is laid out, and what only people and samplers read. */
const FILE =
  /^(general\.(architecture|alignment|type|quantization_version)|split\.(no|count|tensors\.count))$/;
const FOR_PEOPLE = /^(general|quantize\.imatrix|imatrix|mradermacher)\./;

const IDS_READ = /^tokenizer\.ggml\.(bos|eos|eot|eom|padding)_token_id$/;
const MAKER =
  /^tokenizer\.(ggml\.(model|pre|tokens|scores|token_type|merges|add_bos_token|add_eos_token|add_space_prefix|(unknown|seperator|mask|cls)_token_id)|chat_template(\.[\w.-]+|s)?)$/;
/** Tokens that no file of transformers names, and what llama.cpp reads for other kinds of vocabularies. */
const NOT_OURS =
  /^tokenizer\.(ggml\.((fim_(pre|suf|mid|pad|rep|sep)|prefix|suffix|middle)_token_id|token_type_count|remove_extra_whitespaces|precompiled_charsmap|added_tokens)|huggingface\.json)$/;

/** The fate of every key; `given` says that the tokenizer is not made from the file. */
export function fatesOf(facts: ModelFacts, given: boolean): KeyFate[] {
  const { metadata } = facts;
  const own = `${metadata.architecture}.`;
  return [...metadata.entries].map(([key, value]) => {
    if (key.startsWith(own)) return { key, ...ownFate(key.slice(own.length), value, facts) };
    if (key.startsWith("tokenizer.")) return { key, ...tokenizerFate(key, value, given) };
    return { key, ...otherFate(key, value) };
  });
}

type Fate = Omit<KeyFate, "key">;

function ownFate(name: string, value: MetadataValue, facts: ModelFacts): Fate {
  const { modelType, modelClass } = facts.family;
  const read =
    READ.test(name) ||
    (/^gemma[23]/.test(modelType) && GEMMA.test(name)) ||
    (modelType === "gemma3_text" && GEMMA3.test(name)) ||
    (modelType === "qwen3_moe" && EXPERTS.test(name));
  if (read) return { fate: "config.json" };
  const known = HARMLESS.find(({ keys }) => keys.test(name));
  if (known?.fits(value, facts))
    return { fate: "harmless", why: known.only ? `it is ${known.only}` : "says nothing of the model" };
  if (known === undefined)
    return { fate: "refused", why: "is not known here and may change what the model computes" };
  return {
    fate: "refused",
    why: `cannot be said in the config.json of a ${modelClass}; ${known.only} could`,
  };
}

function tokenizerFate(key: string, value: MetadataValue, given: boolean): Fate {
  if (IDS_READ.test(key)) return { fate: "config.json" };
  if (given) return { fate: "harmless", why: "--tokenizer decides instead" };
  if (MAKER.test(key)) return { fate: "tokenizer" };
  if (NOT_OURS.test(key)) return { fate: "harmless", why: "no tokenizer file of these models says it" };
  if (key === "tokenizer.ggml.add_sep_token" && value === false)
    return { fate: "harmless", why: "it is false" };
  return { fate: "refused", why: "is not known to the maker of the tokenizer's files" };
}

function otherFate(key: string, value: MetadataValue): Fate {
  if (key === "general.type" && value !== "model")
    return { fate: "refused", why: "says that the file is no model" };
  if (key === "general.quantization_version" && value !== 2)
    return { fate: "refused", why: "is not 2: its types would be read wrongly" };
  if (FILE.test(key)) return { fate: "file" };
  if (FOR_PEOPLE.test(key)) return { fate: "harmless", why: "for people and samplers" };
  return { fate: "refused", why: "is not known here and may change what the model computes" };
}

/** Refuses a file with a key that would be lost. */
export function checkFates(
  file: string,
  fates: readonly KeyFate[],
  entries: ReadonlyMap<string, MetadataValue>,
): void {
  const lost = fates.find(({ fate }) => fate === "refused");
  if (lost === undefined) return;
  const { key, why } = lost;
  const value = entries.get(key);
  const shown =
    typeof value === "object" ? "a list" : JSON.stringify(typeof value === "bigint" ? String(value) : value);
  const remedy = key.startsWith("tokenizer.")
    ? "name a folder with the model's tokenizer by --tokenizer DIR, or say --tokenizer none"
    : `convert the original safetensors; where the key is wrong, take it out: \`gguf-new-metadata --remove-metadata ${key} IN OUT\` of the package gguf`;
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `${file}: metadata ${key} (${shown?.slice(0, 80)}) ${why}`,
    remedy,
  );
}
