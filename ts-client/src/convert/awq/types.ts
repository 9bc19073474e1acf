/** Folds: scales of --awq that go out of one tensor and into others. */
import type { BlockScheme } from "../../types/convert-job.js";
import type { Located, SourceTensor } from "../source/source.js";

/** One scale for each channel that `from` makes: divided out of it, and multiplied into the columns that read it. */
export interface Fold {
  kind: "norm" | "rows";
  /** A norm, or a matrix whose rows are the channels. */
  from: Located;
  plusOne: boolean;
  /** All that reads the channels, quantised or not. */
  into: readonly Located[];
  /** Those that get codes: the scale is the one of their least error. */
  searched: readonly Located[];
  /** How their codes are made. */
  scheme: BlockScheme;
  /** Whose statistics are those of the channels. */
  measured: SourceTensor;
  /** Channels come in heads of `width`, each of which `repeat` heads of columns read. */
  repeat: number;
  width: number;
}

/** A fold as one of its tensors has it. */
export interface Folded {
  fold: Fold;
  role: "from" | "into";
}

export interface Folding {
  folds: readonly Fold[];
  /** Quantised matrices that keep their columns, and why. */
  unscaled: readonly { name: string; why: string }[];
  byTensor: ReadonlyMap<string, readonly Folded[]>;
}
