/** What config.json says of how a model is quantised, wherever in it that is said. */
import { convertError } from "../errors.js";
import { parseJsonText } from "../text/python-json.js";

/** quantization_config, compression_config, MLX's quantization, quant_config and the like; an audio codec's quantizer is a layer. */
const KEY = /quant(?!izer|ile|um|ity)|^(compression|torchao|gptq|awq|hqq|bnb)_config$/i;
/** Where vLLM 0.33.0 looks, in its order; transformers looks at the first. */
const READ = ["quantization_config", "compression_config", "text_config.quantization_config"];

export interface QuantizationBlock {
  /** Keys from the outside in; numbers are places in a list. */
  path: readonly string[];
  block: object;
}

/** Every object below such a key; null, numbers and words are none. */
export function quantizationBlocks(value: unknown, path: readonly string[] = []): QuantizationBlock[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) => {
    const at = [...path, key];
    const isBlock = typeof inner === "object" && inner !== null && !Array.isArray(inner);
    return isBlock && KEY.test(key) && !Array.isArray(value)
      ? [{ path: at, block: inner }]
      : quantizationBlocks(inner, at);
  });
}

/** config.json with the block that readers go by as its quantization_config; undefined where it has none. */
export function withReadBlock(text: string | null): unknown {
  const config: unknown = text === null ? null : parseJsonText(text);
  const blocks = quantizationBlocks(config);
  const read = READ.flatMap((at) => blocks.find(({ path }) => path.join(".") === at) ?? [])[0];
  return read === undefined ? config : { ...(config as object), quantization_config: read.block };
}

/** Refuses blocks that say something else than the one that is read: nobody can tell which one the weights follow. */
export function checkOneMeaning(blocks: readonly QuantizationBlock[]): void {
  const [first, ...more] = blocks;
  if (first === undefined) return;
  const meaning = JSON.stringify(sortedKeys(first.block));
  const other = more.find(({ block }) => JSON.stringify(sortedKeys(block)) !== meaning);
  if (other === undefined) return;
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `config.json describes two quantisations: ${first.path.join(".")} and ${other.path.join(".")} differ`,
    "take out the one that the weights do not follow",
  );
}

function sortedKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortedKeys);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sortedKeys(inner)]));
}
