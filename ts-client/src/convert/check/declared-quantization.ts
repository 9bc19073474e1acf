/** How a checkpoint says that it is quantised: the layout, and the modules that it names as not quantised. */
import { z } from "zod";
import { withReadBlock } from "../source/quantization-blocks.js";
import type { Source } from "../source/source.js";

const args = z.object({
  num_bits: z.number().optional(),
  type: z.string().optional(),
  strategy: z.string().nullish(),
});
const group = z.object({ weights: args.nullish(), input_activations: args.nullish() });
const block = z.object({
  quant_method: z.string(),
  layout: z.string().optional(),
  weight_block_size: z.array(z.number()).nullish(),
  config_groups: z.record(z.string(), group).optional(),
  ignore: z.array(z.string()).nullish(),
  ignored_layers: z.array(z.string()).nullish(),
  modules_to_not_convert: z.array(z.string()).nullish(),
});
type Block = z.infer<typeof block>;
const config = z.object({ quantization_config: block });

/** How a checkpoint says that it is quantised. */
export interface DeclaredQuantization {
  /** Layout id of this converter; null where readers' rules here do not speak of it. */
  layout: string | null;
  /** In the words of its own config.json. */
  method: string;
  /** Modules that it names as not quantised; `re:` begins a pattern. Null where its method has no such list. */
  kept: readonly string[] | null;
}

/** What config.json, or a file beside it that engines look at, says. */
export function declaredQuantization(source: Source): DeclaredQuantization {
  const found = config.safeParse(withReadBlock(source.config)).data?.quantization_config;
  if (found === undefined) return undeclared(source);
  const kept = found.ignore ?? found.ignored_layers ?? found.modules_to_not_convert ?? [];
  const listless = found.quant_method === "w4afp8";
  return { layout: layoutOf(found), method: found.quant_method, kept: listless ? null : kept };
}

function undeclared({ side, leftOut }: Source): DeclaredQuantization {
  const names = new Set([...side, ...leftOut].map(({ name }) => name));
  if (names.has("quant_cfg.json"))
    return { layout: "w4a8_g128_trtllm", method: "quant_cfg.json", kept: null };
  if (names.has("hf_quant_config.json"))
    return { layout: null, method: "modelopt, by hf_quant_config.json", kept: null };
  return { layout: "bf16", method: "none", kept: [] };
}

function layoutOf(found: Block): string | null {
  const { quant_method: method } = found;
  if (method === "fp8") return found.weight_block_size ? blockLayout(found.weight_block_size) : "fp8_tensor";
  if (method === "w4afp8") return "w4a8_g128_sglang";
  if (method === "opswap") return found.layout ?? null;
  return method === "compressed-tensors" ? compressedLayout(Object.values(found.config_groups ?? {})) : null;
}

const blockLayout = (size: readonly number[]) => (size.every((one) => one === 128) ? "fp8_block128" : null);

/** Of groups that are all FP8 of one strategy, or INT4 with FP8 inputs, or these beside blocks. */
function compressedLayout(groups: readonly z.infer<typeof group>[]): string | null {
  const kinds = new Set(
    groups.map(({ weights, input_activations: inputs }) => {
      if (weights?.type === "float" && weights.num_bits === 8 && inputs?.num_bits === 8)
        return weights.strategy;
      const w4a8 = weights?.type === "int" && weights.num_bits === 4 && inputs?.type === "float";
      return w4a8 ? "int4" : "other";
    }),
  );
  if (kinds.has("int4")) {
    if (kinds.size === 1) return "w4a8_g128_vllm";
    return kinds.size === 2 && kinds.has("block") ? "w4a8_g128_vllm_mixed" : null;
  }
  const [only] = kinds;
  return kinds.size === 1 && /^(tensor|channel|block)$/.test(only ?? "") ? `ct_fp8_${only}` : null;
}
