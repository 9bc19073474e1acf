import type { TensorEntry } from "../safetensors/header.js";
import type { NewTensor } from "../safetensors/layout.js";
import type { ScaleGrid } from "../source.js";

/** How the native part encodes a tensor. */
export type Scheme = "copy" | "bf16" | "fp8_block128";

/** A layout that converted weights can have. */
export interface Format {
  /** The layout id. */
  id: string;
  /** Raised when the bytes of an output would differ. */
  version: number;
  summary: string;
  scheme: Scheme;
  /** Bytes of weights that one scale serves. */
  block: readonly [number, number];
  /** What a converted tensor becomes: its codes, and its scales where it has any. */
  outputs(tensor: TensorEntry): { data: NewTensor; scale: NewTensor | null };
  /** Whether codes with these scales are this layout already, so that they are copied. */
  holds?(scales: ScaleGrid): boolean;
  /** config.json's quantization_config; `kept` are modules that stay in their own precision. null: it has none. */
  config(kept: readonly string[]): Record<string, unknown> | null;
}
