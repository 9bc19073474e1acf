/**
 * The choices of three options of the converter: scale rules, policies and readers, with a sentence on each.
 */

/** How scales are chosen: the largest weight gets the largest code, or the squared error is least. */
export const SCALE_RULES = ["amax", "mse"] as const;
export type ScaleRule = (typeof SCALE_RULES)[number];

/** Which tensors are quantised. */
export const POLICIES = {
  linear: "every linear layer of the language model",
  experts: "the experts of a mixture-of-experts model alone",
} as const;
export type PolicyName = keyof typeof POLICIES;

/** What loads an output. */
export const READERS = {
  vllm: "vLLM",
  sglang: "SGLang",
  transformers: "transformers",
  trtllm: "TensorRT-LLM",
} as const;
export type Reader = keyof typeof READERS;
export const READER_IDS = Object.keys(READERS) as [Reader, ...Reader[]];
