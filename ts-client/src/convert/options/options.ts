/** The options of a conversion and their defaults. */
import type { Nonfinite } from "../../types/convert-job.js";
import type { PolicyName, Reader, ScaleRule } from "./choices.js";

/** What decides the bytes of an output. */
export interface ConvertOptions {
  to: string;
  nonfinite: Nonfinite;
  policy: PolicyName;
  keep: readonly string[];
  quantize: readonly string[];
  /** Null is the layout's own choice. */
  scales: ScaleRule | null;
  /** A file of statistics of the layers' inputs. */
  calibration: string | null;
  /** Scales of channels from those statistics, folded into the layers before. */
  awq: boolean;
  /** The same codes and scales in another layout: nothing is quantised, and no policy decides. */
  repack: boolean;
  /** Files for each of so many tensor-parallel ranks, as vLLM's sharded_state reads them; null is one for all. */
  tensorParallel: number | null;
  /** What reads the output; null is any. */
  for: Reader | null;
}

export const DEFAULTS: ConvertOptions = {
  to: "fp8_block128",
  nonfinite: "refuse",
  policy: "linear",
  keep: [],
  quantize: [],
  scales: null,
  calibration: null,
  awq: false,
  repack: false,
  tensorParallel: null,
  for: null,
};
