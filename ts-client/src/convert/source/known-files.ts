/** What is known of the files beside a checkpoint's weights, by their names. */

/** Lists of sha256 digests, as `sha256sum` writes them. */
export const DIGEST_LISTS = /^(sha256sums?|checksums?)(\.txt|\.sha256)?$|\.sha256$/i;

/**
 * What describes how the source is quantised, as ModelOpt, TensorRT-LLM, AutoGPTQ, AutoAWQ, AutoRound, msModelSlim,
 * llm-compressor, Quanto and the converter itself write it. vLLM 0.33.0 takes hf_quant_config.json for the truth where
 * config.json has no block of its own.
 */
const OF_LAYOUT =
  /^(?!.*tokeniz)[^/]*(quant|qmap|gptq|awq|kv_cache_scales|input_scales|act_scales|scale_fmt)[^/]*\.(json|ya?ml|csv|toml)$|^recipe\.ya?ml$/i;

/** Weights in other formats, which would be stale beside converted ones. */
const WEIGHTS =
  /(^(pytorch_model|tf_model|flax_model|model|weights|consolidated|adapter_model|diffusion|openvino)[^/]*\.bin|\.(pth|pt|gguf|ggml|h5|keras|msgpack|ckpt|onnx|onnx_data|ot|npz|tflite|mlmodel|mlpackage|pb|engine|nemo|distcp|llamafile|safetensors|index\.json))$/i;

const LEFT_OUT: readonly (readonly [RegExp, string])[] = [
  [WEIGHTS, "weights that are not converted"],
  [DIGEST_LISTS, "digests of files that are others now"],
  [/^conversion\.(json|html)$/, "the report of an earlier conversion"],
  [/^adapter_config\.json$/, "of an adapter, which is not merged into the weights"],
  [
    /^(training_args|optimizer|scheduler|rng_state|random_states|scaler)[^/]*\.(bin|pkl)$|^(trainer_state\.json|zero_to_fp32\.py)$/i,
    "state of training, not of the model",
  ],
];

/** What tokenizers, processors, generation and people need, and no weight decides. */
const CARRIED: readonly RegExp[] = [
  /^(tokenizer|tokenization|vocab|merges|special_tokens_map|added_tokens|spiece|sentencepiece|tekken|normalizer|chat_template|bpe|dict|tiktoken)/i,
  /\.(model|tiktoken|jinja2?|py|md|rst|pdf|png|jpe?g|gif|svg|webp|html|ipynb)$/i,
  /^(generation_config|preprocessor_config|processor_config|image_processor_config|video_preprocessor_config|feature_extractor|configuration|model_index|modules|sentence_bert_config|config_sentence_transformers|config)\b[^/]*\.json$/i,
  /^(licen[cs]e|notice|copying|readme|use_policy|usage|third|thirdparty|changelog|citation|security|system_prompt|authors|\.git)/i,
];

/** The stand of a file: it goes along, does not for a reason, tells of the source's layout, or is not known. */
export type FileRole =
  | { kind: "carried" | "unknown" }
  | { kind: "left out"; why: string }
  | { kind: "of the layout"; why: string };

const LAYOUT_WHY = "says how the source was quantised; the output is what its config.json says";

/** By the name that a file has in its folder. */
export function roleOf(name: string): FileRole {
  const why = LEFT_OUT.find(([pattern]) => pattern.test(name))?.[1];
  if (why !== undefined) return { kind: "left out", why };
  if (OF_LAYOUT.test(name)) return { kind: "of the layout", why: LAYOUT_WHY };
  return { kind: CARRIED.some((pattern) => pattern.test(name)) ? "carried" : "unknown" };
}

export const isWeights = (name: string): boolean => WEIGHTS.test(name);
