import type { FusedGroup } from "../fused.js";
import type { TensorEntry } from "../safetensors/header.js";
import type { NewTensor } from "../safetensors/layout.js";
import type { ScaleGrid } from "../source.js";

/** What the native part writes for an element; native/convert/tile.h says what each means. */
export type Code = "copy" | "flip" | "widen" | "narrow" | "bf16" | "e4m3" | "int4_offset" | "int4_signed";

/** Weights to codes. */
export interface BlockScheme {
  code: "e4m3" | "int4_offset" | "int4_signed";
  /** Weights that share a scale; 0 rows are the whole tensor, 0 columns the whole row. */
  blockRows: number;
  blockColumns: number;
  scale: "F32" | "BF16";
  /** Rows of scales are filled up with zeros to a multiple of this. */
  scaleAlign?: number;
  /** Of int4: the scale of least squared error, and not of the largest weight. */
  clipped?: boolean;
  /** Those errors count as the importance of their columns says. */
  weighted?: boolean;
}

/** How the native part encodes a tensor. A layout is made of these parts, and only its own file says of which. */
export type Scheme = BlockScheme | { code: Exclude<Code, BlockScheme["code"]> };

export const COPY: Scheme = { code: "copy" };

/** How scales are chosen: the largest weight gets the largest code, or the squared error is least. */
export const SCALE_RULES = ["amax", "mse"] as const;
export type ScaleRule = (typeof SCALE_RULES)[number];

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
