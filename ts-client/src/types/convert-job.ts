/** Types of the jobs that the converter gives to the native part, and of their results. */

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

/** What becomes of weights that are NaN or infinite. */
export type Nonfinite = "refuse" | "keep" | "zero";

/** How numbers lie in a file; offsets and shapes say the rest. */
export interface PlaneLayout {
  /** What is stored: a type of safetensors, or half a byte: U4, I4, E2M1. */
  element: string;
  /** Codes that share a word of 32 bits: neighbours of a line, of lines, or eight of a line in AWQ's order. */
  packing?: "along" | "across" | "awq";
  /** A line of the file is a column of the matrix. */
  byColumns?: boolean;
  /** Elements from a line to the next; words where lines are packed. */
  pitch: number;
  /** Of a slice. */
  lines: number;
}

/** Numbers in a file; one grid for all slices has 0 lines. */
export interface JobPlane extends PlaneLayout {
  offset: number;
}

/** Numbers that each serve a block of rows x columns. */
export interface JobGrid extends JobPlane {
  path: string;
  rows: number;
  columns: number;
  /** Rows of the first block that come before the tensor. */
  first?: number;
}

/** One tensor for the native part; offsets are from the start of the files. */
export interface ConvertJob {
  /** write: source to target; verify: source again, compared with target; digest: target alone; measure: amax alone; weigh: weighted error alone. */
  mode: "write" | "verify" | "digest" | "measure" | "weigh";
  scheme: Scheme;
  /** A floating dtype of safetensors, a type of GGUF, or "bytes". */
  element: string;
  nonfinite: Nonfinite;
  /** File descriptors; no source where target is read alone. */
  source: number;
  target: number;
  sourceOffset: number;
  dataOffset: number;
  scaleOffset: number;
  rows: number;
  columns: number;
  /** Columns of the source's rows, where only some of them are read. */
  sourceColumns?: number;
  /** Columns of the target's rows, which zeros fill up. */
  targetColumns?: number;
  /** The largest weight of all that share one scale, where that is a whole tensor. */
  amax?: number;
  threads: number;
  /** Attention heads whose rows the source keeps in pairs. */
  heads?: number;
  /** Added to every element of the source. */
  add?: number;
  /** Matrices of equal size one below the other, each with scales of its own. */
  slices?: number;
  /** How codes lie, where not row after row; `element` is then not looked at. */
  codes?: JobPlane;
  /** What the source's codes are multiplied by, for each block. */
  scales?: JobGrid;
  /** What is taken from codes first, with `zero`; goes with `codes`. */
  zeros?: JobGrid;
  zero?: number;
  /** In which column of scales and zeros each column is. */
  groups?: Int32Array;
  /** Whether elements have factors; a digest is not given them, but must know. */
  scaled?: boolean;
  /** What elements are multiplied by after `add`. */
  columnFactors?: Float32Array;
  rowFactors?: Float32Array;
  /** Added after that. */
  after?: number;
  /** What each column's squared error counts, in int4. */
  importance?: Float32Array;
  /** Another instruction set than this CPU's best: for tests. */
  isa?: string;
}

export interface ConvertStats {
  elements: number;
  /** Sums of squares of the weights and of their errors. */
  signal: number;
  noise: number;
  /** Noise, each column's by its importance. */
  weighted: number;
  largestError: number;
  smallestScale: number;
  largestScale: number;
  zeros: number;
  /** Weights that are not zero and became zero. */
  flushed: number;
  /** Weights at the largest code. */
  atLimit: number;
  zeroBlocks: number;
}

/** Digests are XXH64 over the XXH64 of each tile, in hexadecimal. */
export interface ConvertResult {
  sourceDigest: string;
  dataDigest: string;
  scaleDigest: string;
  stats: ConvertStats;
  nonfinite: { count: number; row: number; column: number };
  differing: number;
  firstDiffering: number;
  differingScales: number;
  /** Elements that the new type cannot hold. */
  inexact: number;
  firstInexact: number;
  /** Of what is finite, when measuring. */
  amax: number;
}

/** A failed job's error. */
export interface ConvertFailure extends Error {
  call: string;
  errno: number;
  onTarget: boolean;
  offset: number;
  /** Of a file that is neither source nor target; empty otherwise. */
  path: string;
}
