/** The schema of what the journal and the report say of a scale of --awq. */
import { z } from "zod";

/** Scales that were divided out of `from` and multiplied into what reads it. */
export const foldReport = z.object({
  role: z.enum(["from", "into"]),
  from: z.string(),
  /** Exponent of the channels' magnitudes. */
  alpha: z.number(),
  /** Of all that reads `from`: squared errors, each column's times the mean square of its input. */
  error_before: z.number(),
  error_after: z.number(),
});
export type FoldReport = z.infer<typeof foldReport>;
