/** The events that a conversion tells while it runs. */
import type { TensorReport } from "../report/tensor-report.js";

/** A part, and a pool of workers, are a "run". */
export type Operation = "run" | "merge" | "verify";

/** What a conversion tells while it runs; `--json` prints each as a line. */
export type ConvertEvent =
  | {
      event: "begin";
      doing: Operation;
      output: string;
      tensors: number;
      source_bytes: number;
      output_bytes: number;
    }
  /** Tensors of an earlier, cut run that are on disk as they should be. */
  | { event: "resume"; tensors: number; bytes: number; again: number }
  | { event: "tensor"; file: string; report: TensorReport }
  | { event: "verified"; file: string; tensor: string; bytes: number }
  | { event: "file"; file: string; bytes: number }
  /** A source file is what a digest that came with it says. */
  | { event: "checked"; file: string; sha256: string; from: string }
  | { event: "publish"; output: string }
  | { event: "end"; doing: Operation; output: string; seconds: number; already_done: boolean };

export type Emit = (event: ConvertEvent) => void;
