/** What the journal and the report say of one tensor: its schema, and how it is made of a result. */
import { z } from "zod";
import type { ConvertResult } from "../../types/convert-job.js";
import type { FoldReport } from "../awq/fold-report.js";
import { foldReport } from "../awq/fold-report.js";
import type { PlannedTensor } from "../plan/types.js";
import { sum } from "../sum.js";

const quality = z.object({
  /** null when the output equals the input. */
  sqnr_db: z.number().nullable(),
  signal: z.number(),
  noise: z.number(),
  max_error: z.number(),
  smallest_scale: z.number(),
  largest_scale: z.number(),
  zeros: z.number(),
  flushed_to_zero: z.number(),
  at_limit: z.number(),
  zero_blocks: z.number(),
});

/** What became of one tensor: a line of the journal and of the report. */
export const tensorReport = z.object({
  name: z.string(),
  dtype: z.string(),
  shape: z.array(z.number()),
  bytes: z.number(),
  action: z.string(),
  why: z.string(),
  output_dtype: z.string(),
  output_bytes: z.number(),
  nonfinite: z.number(),
  source_digest: z.string(),
  data_digest: z.string(),
  scale_digest: z.string().nullable(),
  quality: quality.nullable(),
  /** With --awq. */
  folds: z.array(foldReport).optional(),
});
export type TensorReport = z.infer<typeof tensorReport>;

export function reportOf(tensor: PlannedTensor, result: ConvertResult, folds: FoldReport[]): TensorReport {
  const { source, data, scale, constants } = tensor;
  return {
    name: tensor.name,
    dtype: source.dtype,
    shape: [...source.shape],
    bytes: source.end - source.begin,
    action: tensor.action,
    why: tensor.why,
    output_dtype: data.dtype,
    output_bytes: data.bytes + (scale?.bytes ?? 0) + sum(constants, ({ placed }) => placed.bytes),
    nonfinite: result.nonfinite.count,
    source_digest: result.sourceDigest,
    data_digest: result.dataDigest,
    scale_digest: scale && result.scaleDigest,
    quality: scale && qualityOf(result),
    ...(folds.length > 0 ? { folds } : {}),
  };
}

function qualityOf({ stats }: ConvertResult): z.infer<typeof quality> {
  return {
    sqnr_db: sqnr(stats.signal, stats.noise),
    signal: stats.signal,
    noise: stats.noise,
    max_error: stats.largestError,
    smallest_scale: stats.smallestScale,
    largest_scale: stats.largestScale,
    zeros: stats.zeros,
    flushed_to_zero: stats.flushed,
    at_limit: stats.atLimit,
    zero_blocks: stats.zeroBlocks,
  };
}

export function sqnr(signal: number, noise: number): number | null {
  return noise > 0 && signal > 0 ? 10 * Math.log10(signal / noise) : null;
}
