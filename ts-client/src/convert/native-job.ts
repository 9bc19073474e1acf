import type { Scheme } from "./formats/index.js";
import type { Nonfinite } from "./plan.js";
import type { Lie } from "./source.js";

/** Numbers in a file; one grid for all slices has 0 lines. */
export interface JobPlane extends Lie {
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
