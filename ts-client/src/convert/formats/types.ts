/** What a layout is: how it encodes a tensor, what it cannot have, and what it tells loaders. */
import type { Scheme } from "../../types/convert-job.js";
import type { ScaleRule } from "../options/choices.js";
import type { TensorEntry } from "../source/safetensors/header.js";
import type { NewTensor } from "../source/safetensors/layout.js";
import type { ScaleGrid } from "../source/source.js";

export const COPY: Scheme = { code: "copy" };

/** With --awq, clipping weighs errors as well. */
export function weighted<S extends Scheme>(scheme: S): S {
  return "clipped" in scheme && scheme.clipped ? { ...scheme, weighted: true } : scheme;
}

/** A tensor whose bytes are known before the work. */
export interface Constant {
  tensor: NewTensor;
  bytes: Buffer;
}

/** What a quantised tensor becomes. */
export interface Encoding {
  /** The layout that it gets, for people. */
  action: string;
  scheme: Scheme;
  data: NewTensor;
  /** Null where the codes need none. */
  scale: NewTensor | null;
  constants?: readonly Constant[];
}

/** What decides an encoding beside the tensor. */
export interface EncodeOptions {
  scales: ScaleRule;
  /** Static scale of a layer's inputs, where the layout asks for one. */
  inputScale(tensor: TensorEntry): number;
}

/** Modules of a plan, by what becomes of them. */
export interface Modules {
  kept: readonly string[];
  quantized: readonly string[];
  /** Whether the output head is the embedding, and so has no tensor. */
  tiedHead: boolean;
}

/** JSON that tells loaders of the layout: config.json's quantization_config, and files beside it. */
export interface LoaderFiles {
  config: Record<string, unknown> | null;
  others: Readonly<Record<string, unknown>>;
}

/** Matrices that engines load into one, in the order of its rows; or a single one. */
export interface FusedGroup {
  leaves: readonly string[];
  rows: readonly number[];
  columns: number;
  expert: boolean;
}

/** Why a layout cannot have such a group. */
export type Obstacle = (group: FusedGroup) => string | undefined;

/** A layout that converted weights can have. */
export interface Format {
  /** The layout id. */
  id: string;
  /** Raised when the bytes of an output would differ. */
  version: number;
  summary: string;
  /** Whether codes with these scales are this layout already, so that they are copied. */
  holds?(scales: ScaleGrid): boolean;
  /** Rules for scales that it knows, its own choice first. */
  scales: readonly ScaleRule[];
  /** What rows and columns of a rank must be a multiple of. */
  border: number;
  /** Whether parts of a fused group have one scale in common. */
  shared?: boolean;
  /** Whether files for ranks may have it, and whether vLLM then has scales for keys and values of attention. */
  ranks?: { kvScales: boolean };
  /** Whether it can say NaN. */
  nan: boolean;
  /** Whether it has INT4 codes that gain from --awq. */
  awq?: boolean;
  /** Whether loaders want a static scale of this layer's inputs. */
  staticInputs?(tensor: TensorEntry): boolean;
  /** Why a group of matrices that engines fuse, or a single one, cannot have this layout. */
  obstacle(group: FusedGroup): string | undefined;
  encode(tensor: TensorEntry, options: EncodeOptions): Encoding;
  files(modules: Modules): LoaderFiles;
}
