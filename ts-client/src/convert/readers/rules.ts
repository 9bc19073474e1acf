/** The types of rules.json, which is read from the engines' own model files. */
import rules from "./rules.json" with { type: "json" };

/** What an engine's own model files say, as test/loaders/rules.py reads them; `npm run loaders -- --rules` writes it. */
export interface EngineRules {
  version: string;
  /** A fused layer, then its parts in the order of their rows. */
  fused: readonly (readonly string[])[];
  /** Layers that more of its files build without a quant_config than with one. */
  plain: readonly string[];
  /** The file of each architecture. */
  architectures: Readonly<Record<string, string>>;
  /** Architectures that the class of an architecture is made of. */
  bases: Readonly<Record<string, readonly string[]>>;
  /** What a file and those that it is made of say beside that; PARENT.NAME where a name alone is both. */
  files: Readonly<Record<string, Pick<EngineRules, "fused" | "plain"> & { quantized: readonly string[] }>>;
}

export const RULES: Readonly<Record<"vllm" | "sglang", EngineRules>> = rules;
