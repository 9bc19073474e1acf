/** What a checkpoint is after it was opened: its files, their tensors, and how each is stored. */
import type { PlaneLayout } from "../../types/convert-job.js";
import type { KeyFate } from "./gguf/keys.js";
import type { TensorEntry } from "./safetensors/header.js";
import type { LeftOutFile, SideFile } from "./side-files.js";

export type { SideFile } from "./side-files.js";

/** How a source keeps a tensor whose bytes are not simply its elements. */
export interface Stored {
  /** Attention heads whose rows lie in pairs, as GGUF keeps Llama's. */
  heads?: number;
  /** What is missing in every element, such as -1 in Gemma's norms. */
  add?: number;
  /** What codes are multiplied by. */
  scales?: ScaleGrid;
  /** Matrices of equal size one below the other, each with scales of its own. */
  slices?: number;
  /** How codes lie, where not row after row. */
  codes?: PlaneLayout;
  /** What is taken from codes first: for each block, and of all of them. */
  zeros?: ScaleGrid;
  zero?: number;
  /** A tensor that says for each column in which block it is. */
  groups?: PartTensor;
}

/** A tensor that belongs to another one's codes. */
export interface PartTensor {
  tensor: TensorEntry;
  /** Its file, and where it begins there. */
  path: string;
  offset: number;
}

/** A tensor of scales or zeros, each for a block of `rows` x `columns` codes. */
export interface ScaleGrid extends PartTensor {
  rows: number;
  columns: number;
  /** How many of each row are scales, where the rest fills it up. */
  used?: number;
  /** How they lie, where not row after row. */
  layout?: PlaneLayout;
  /** Rows of the first block that come before the tensor, which was cut out of a larger one. */
  first?: number;
}

export interface SourceTensor extends TensorEntry {
  stored?: Stored;
  /** The weight that it belongs to: it is written only where that keeps its codes. */
  scaleOf?: string;
  /** Columns of the matrix whose columns, some of them, these are; `begin` is then the first one's. */
  rowPitch?: number;
}

/** What a file holds, whatever its format; bytes are counted from `dataStart`. */
export interface SourceHeader {
  tensors: readonly SourceTensor[];
  metadata: Readonly<Record<string, string>>;
  dataStart: number;
  sha256: string;
}

/** A tensor that no output has. */
export interface LeftOut {
  tensor: TensorEntry;
  why: string;
}

export interface SourceFile {
  /** The name that its output has. */
  name: string;
  path: string;
  bytes: number;
  /** Nanoseconds, in digits. */
  modified: string;
  header: SourceHeader;
  leftOut?: readonly LeftOut[];
}

/** A checkpoint whose headers were read and checked; no weight was read. */
export interface Source {
  kind: "safetensors" | "gguf";
  /** The folder or file that was given, links resolved. */
  root: string;
  folder: string;
  files: readonly SourceFile[];
  /** Text of config.json; null where there is none. */
  config: string | null;
  /** Whether the output gets an index. */
  indexed: boolean;
  side: readonly SideFile[];
  leftOut: readonly LeftOutFile[];
  /** Those of them that say how the source is quantised. */
  ofLayout: readonly SideFile[];
  /** What became of each metadata key of a GGUF file. */
  entries?: readonly KeyFate[];
  /** Whether it says that it is in FP8, in a way that is read. */
  fp8?: boolean;
  /** What it was opened with. */
  tokenizer?: string;
}

/** A tensor, and the file that it is in. */
export interface Located {
  file: SourceFile;
  tensor: SourceTensor;
}

/** All tensors of a source, with the file of each. */
export function allTensors(source: Source): Located[] {
  return source.files.flatMap((file) => file.header.tensors.map((tensor) => ({ file, tensor })));
}
