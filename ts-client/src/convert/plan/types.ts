/** A plan: every file and tensor of an output, decided before a weight is read. */
import type { Scheme } from "../../types/convert-job.js";
import type { Calibration } from "../awq/calibration.js";
import type { Folded, Folding } from "../awq/types.js";
import type { Format, Modules } from "../formats/types.js";
import type { ConvertOptions } from "../options/options.js";
import type { Matrix } from "../readers/types.js";
import type { FileLayout, Placed } from "../source/safetensors/layout.js";
import type { SideFile } from "../source/side-files.js";
import type { LeftOut, Located, Source, SourceFile, SourceTensor } from "../source/source.js";

export interface PlannedTensor {
  name: string;
  source: SourceTensor;
  /** The file that it is in. */
  from: SourceFile;
  /** What happens to it, for people. */
  action: string;
  scheme: Scheme;
  why: string;
  data: Placed;
  scale: Placed | null;
  /** Columns of its rows with the zeros that fill them up, where they are filled up. */
  padded?: number;
  /** Tensors beside it whose bytes are known already. */
  constants: readonly { placed: Placed; bytes: Buffer }[];
  /** Tensors, itself included, whose largest weight decides the one scale that they share; else none. */
  together: readonly Located[];
  /** Scales of channels that it makes or reads. */
  folds: readonly Folded[];
}

export interface PlannedFile {
  name: string;
  layout: FileLayout;
  /** In the order of work, which is the source's. */
  tensors: readonly PlannedTensor[];
  /** What of the source's file is in no output. */
  leftOut: readonly LeftOut[];
}

export interface Plan extends Modules {
  options: ConvertOptions;
  format: Format;
  source: Source;
  files: readonly PlannedFile[];
  /** Quantised matrices, before they are packed. */
  matrices: readonly Matrix[];
  calibration: Calibration | null;
  /** Null without --awq. */
  folding: Folding | null;
  config: string | null;
  /** Whether the output gets an index. */
  indexed: boolean;
  /** Files that the layout adds for its loaders. */
  extra: readonly { name: string; text: string }[];
  side: readonly SideFile[];
  sourceBytes: number;
  /** Of everything in the output but the report. */
  outputBytes: number;
  /** Names the same conversion of the same source. */
  fingerprint: string;
}
