/** What config.json, or a file beside it, says of how a source is quantised. */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { parseJsonText } from "../../text/python-json.js";
import { withReadBlock } from "../quantization-blocks.js";
import type { Source } from "../source.js";
import { METHODS } from "./methods.js";
import type { Quantization } from "./types.js";

const json = z.record(z.string(), z.unknown());
type Json = z.infer<typeof json>;
const UNKNOWN: Quantization = { method: null, known: false };

/** Files in which tools describe the codes, with the tool whose file it is. */
const FILES: readonly [name: string, method: string][] = [
  ["quant_cfg.json", "w4afp8"],
  ["hf_quant_config.json", "modelopt"],
  ["quantize_config.json", "gptq"],
  ["quant_config.json", "awq"],
];

/** Reads what config.json says, or else a file beside it. */
export function quantizationOf(source: Source): Quantization {
  const config = json.safeParse(withReadBlock(source.config)).data ?? {};
  const block = json.safeParse(config.quantization_config).data;
  if (block === undefined) return fromFiles(source);
  return { ...fromBlock(block), ...(config.expert_dtype === "fp4" ? { method: "fp4" } : {}) };
}

function fromFiles({ side: carried, ofLayout = [] }: Source): Quantization {
  const side = [...carried, ...ofLayout];
  for (const [name, method] of FILES) {
    const file = side.find((one) => one.name === name);
    const said = file === undefined ? {} : (json.safeParse(tryJson(file.path)).data ?? {});
    if (Object.keys(said).length > 0)
      return { ...fromBlock({ quant_method: method, ...said }), known: false };
  }
  return UNKNOWN;
}

function tryJson(file: string): unknown {
  try {
    return parseJsonText(readFileSync(file, "utf8"));
  } catch {
    return undefined; // then it says nothing, and the tensors alone decide
  }
}

function fromBlock(block: Json): Quantization {
  const method = typeof block.quant_method === "string" ? block.quant_method.toLowerCase() : null;
  const reader = method === null ? undefined : METHODS[method];
  if (reader === undefined) return { method, known: false, ...(method === null ? {} : { unread: method }) };
  const facts = reader(block);
  return { method, known: facts.unread === undefined, ...facts };
}
