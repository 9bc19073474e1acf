/** Rotary position settings of a GGUF file, as config.json says them. */
import { convertError } from "../../errors.js";
import type { Metadata } from "./metadata.js";

export interface Rope {
  theta: number;
  scaling: Readonly<Record<string, string | number>> | null;
}

/** Llama 3's stretching of low frequencies; its other parameters are the same in all models. */
const LLAMA3 = { low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
const GREATEST_FLOAT = 3.5e38;
const MOST_STRETCH = 2 ** 20;

/** How positions are encoded, by metadata or by a tensor of factors for each frequency. */
export function ropeOf(metadata: Metadata, headDim: number, factors: Float32Array | null): Rope {
  const theta = metadata.between("rope.freq_base", 1e-3, GREATEST_FLOAT) ?? 10000;
  const scaling = scalingOf(metadata);
  if (factors === null) return { theta, scaling };
  if (scaling === null) return { theta, scaling: llama3(metadata.file, theta, headDim, factors) };
  throw cannot(metadata, "has both tensor rope_freqs.weight and rope.scaling");
}

/**
 * As llama.cpp reads it: a type that is not there is "linear", "none" scales nothing, and a factor that is 0 or not there,
 * here or under its old name, is 1.
 */
function scalingOf(metadata: Metadata): Rope["scaling"] {
  const type = metadata.ownText("rope.scaling.type") ?? "linear";
  const factor = type === "none" ? 1 : factorOf(metadata);
  const attention = metadata.between("rope.scaling.attn_factor", 1e-3, 1e3) ?? 1;
  if (type === "yarn") return factor === 1 && attention === 1 ? null : yarn(metadata, factor, attention);
  if (type !== "none" && type !== "linear")
    throw cannot(metadata, `has rope.scaling.type ${type.slice(0, 80)}`);
  if (attention !== 1)
    throw cannot(metadata, `has rope.scaling.attn_factor ${attention} with rope scaling ${type}`);
  return factor === 1 ? null : { rope_type: "linear", factor };
}

function factorOf(metadata: Metadata): number {
  const factor = metadata.between("rope.scaling.factor", 0, MOST_STRETCH);
  const old = metadata.between("rope.scale_linear", 0, MOST_STRETCH);
  if (factor !== undefined && old !== undefined && factor !== old)
    throw cannot(metadata, `has rope.scaling.factor ${factor} and rope.scale_linear ${old}`);
  return factor || old || 1;
}

/** What llama.cpp mixes as transformers does; its other ways of mixing cannot be said. */
function yarn(metadata: Metadata, factor: number, attention: number): NonNullable<Rope["scaling"]> {
  const extrapolation = metadata.own("rope.scaling.yarn_ext_factor") ?? -1; // negative is not set
  const others = [
    ["yarn_ext_factor", extrapolation < 0 || extrapolation === 1],
    ["yarn_attn_factor", (metadata.own("rope.scaling.yarn_attn_factor") ?? 1) === 1],
    ["yarn_log_multiplier", (metadata.own("rope.scaling.yarn_log_multiplier") ?? 0) === 0],
  ] as const;
  const odd = others.find(([, plain]) => !plain)?.[0];
  if (odd !== undefined)
    throw cannot(metadata, `has rope.scaling.${odd} ${metadata.own(`rope.scaling.${odd}`)}`);
  const fast = metadata.between("rope.scaling.yarn_beta_fast", 1e-3, 1e6);
  const slow = metadata.between("rope.scaling.yarn_beta_slow", 1e-3, 1e6);
  const spread = factor <= 1 ? 1 : 0.1 * Math.log(factor) + 1;
  return {
    rope_type: "yarn",
    factor,
    original_max_position_embeddings:
      metadata.optionalCount("rope.scaling.original_context_length") ?? metadata.count("context_length"),
    ...(fast === undefined ? {} : { beta_fast: fast }),
    ...(slow === undefined ? {} : { beta_slow: slow }),
    ...(attention === 1 ? {} : { attention_factor: spread * attention }),
  };
}

function cannot({ file, architecture }: Metadata, problem: string): Error {
  return convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `${file} (${architecture}) ${problem}`,
    "config.json cannot say it; convert the original safetensors instead",
  );
}

/** Finds the parameters that give these factors; others are refused. */
function llama3(file: string, theta: number, headDim: number, factors: Float32Array) {
  const factor = Math.round(Math.max(...factors));
  const expected = Float32Array.from({ length: headDim / 2 }, (_, i) =>
    stretch(theta ** ((2 * i) / headDim), factor),
  );
  const same =
    factors.length === expected.length &&
    factors.every((value, i) => Math.abs(value / (expected[i] ?? 0) - 1) < 1e-3);
  if (same) return { rope_type: "llama3", factor, ...LLAMA3 };
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `${file}: tensor rope_freqs.weight is not one of Llama 3's`,
    "config.json cannot say it; convert the original safetensors instead",
  );
}

/** The factor of a frequency whose wave is 2 pi `period` tokens long. */
function stretch(period: number, factor: number): number {
  const { low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings: length } = LLAMA3;
  const wave = 2 * Math.PI * period;
  if (wave < length / high) return 1;
  if (wave > length / low) return factor;
  const smooth = (length / wave - low) / (high - low);
  return 1 / ((1 - smooth) / factor + smooth);
}
