/** Reports of conversions for tests. */
import { DEFAULTS } from "../convert/options/options.js";
import type { Report } from "../convert/report/report.js";
import type { TensorReport } from "../convert/report/tensor-report.js";

export function tensor(name: string, sqnr: number | null): TensorReport {
  const quality = {
    sqnr_db: sqnr,
    signal: 1,
    noise: 1,
    max_error: 0.5,
    smallest_scale: 0.1,
    largest_scale: 0.2,
    zeros: 3,
    flushed_to_zero: 4,
    at_limit: 5,
    zero_blocks: 0,
  };
  return {
    name,
    dtype: "BF16",
    shape: [2, 2],
    bytes: 8,
    action: "fp8_block128",
    why: "linear layer",
    output_dtype: "F8_E4M3",
    output_bytes: 8,
    nonfinite: 0,
    source_digest: "",
    data_digest: "",
    scale_digest: "",
    quality,
  };
}

export function report(tensors: TensorReport[]): Report {
  return {
    tool: { name: "opswap", version: "0" },
    layout: { id: "fp8_block128", version: 1 },
    options: { ...DEFAULTS, keep: [], quantize: [], scales: "amax" },
    fingerprint: "",
    digest_method: "",
    source: { files: [], digest: "aa" },
    output: { files: [], digest: "bb" },
    totals: { tensors: 2, quantized: 2, source_bytes: 16, output_bytes: 8, sqnr_db: 31.5, nonfinite: 0 },
    perplexity: { absent: "no text" },
    worst: [{ name: "b", sqnr_db: 20, max_error: 0.5 }],
    tensors,
  };
}
