/** Weights that lie beside a model and are not its checkpoint, by the names that tools give them. */
export const SINGLE = "model.safetensors";

const ADAPTER = /^(adapter_model|pytorch_lora_weights|lora)\b|[._-]lora\b/i;
/** As transformers' `variant` names them: model.fp16.safetensors, model.fp16-00001-of-00002, model-00001-of-00002.fp16. */
const VARIANT =
  /\.(fp32|fp16|bf16|f32|f16|float16|bfloat16|fp8|fp4|int8|int4|4bit|8bit|ema|non_ema)(?=[-.])/i;

const RULES: readonly (readonly [RegExp, string])[] = [
  [ADAPTER, "an adapter, which is not merged into the weights"],
  [/^consolidated\b/, "the same weights under Mistral's names"],
  [/^(mtp|nextn|draft|eagle|medusa|speculator)\b/i, "a draft head that no index names"],
  [/^(optimizer|scheduler|random_states|ema|value_head|training)\b/i, "state of training, not of the model"],
];

export const isAdapter = (name: string): boolean => ADAPTER.test(name);

/** Why a file of that name is left out where there is a model; undefined where its name does not tell. */
export function besideModel(name: string): string | undefined {
  const known = RULES.find(([pattern]) => pattern.test(name))?.[1];
  if (known !== undefined) return known;
  const variant = VARIANT.exec(name)?.[1];
  return variant === undefined ? undefined : `the variant ${variant}, another checkpoint of the model`;
}
