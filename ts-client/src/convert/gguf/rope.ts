import { convertError } from "../errors.js";
import type { Metadata } from "./metadata.js";

export interface Rope {
  theta: number;
  scaling: Readonly<Record<string, string | number>> | null;
}

/** Llama 3's stretching of low frequencies; its other parameters are the same in all models. */
const LLAMA3 = { low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };

/** How positions are encoded, by metadata or by a tensor of factors for each frequency. */
export function ropeOf(metadata: Metadata, headDim: number, factors: Float32Array | null): Rope {
  const theta = metadata.own("rope.freq_base") ?? 10000;
  const type = metadata.ownText("rope.scaling.type") ?? "none";
  if (factors !== null) return { theta, scaling: llama3(metadata.file, theta, headDim, factors) };
  if (type === "none") return { theta, scaling: null };
  const factor = metadata.need("rope.scaling.factor");
  if (type === "linear") return { theta, scaling: { rope_type: type, factor } };
  if (type === "yarn") {
    const original_max_position_embeddings = metadata.count("rope.scaling.original_context_length");
    return { theta, scaling: { rope_type: type, factor, original_max_position_embeddings } };
  }
  throw convertError("OPSWAP_E_CANNOT_CONVERT", `${metadata.file} has rope scaling ${type.slice(0, 80)}`);
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
