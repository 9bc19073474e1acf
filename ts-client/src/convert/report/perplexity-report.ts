/** The schema of what the report says of the perplexity, and that in words. */
import { z } from "zod";

/** Of the model before and after, on some text. */
export const measuredPerplexity = z.object({
  before: z.number(),
  after: z.number(),
  /** Mean difference of log-probabilities, in nats a token, and their mean distance. */
  delta: z.number(),
  moved: z.number(),
  tokens: z.number(),
  window: z.number(),
  text: z.string(),
  text_sha256: z.string(),
});
export type MeasuredPerplexity = z.infer<typeof measuredPerplexity>;

/** What the report says: what was measured, or why nothing was. */
export const perplexityReport = z.union([measuredPerplexity, z.object({ absent: z.string() })]);
export type PerplexityReport = z.infer<typeof perplexityReport>;

export const NOT_MEASURED: PerplexityReport = {
  absent: "not measured; `opswap convert perplexity SOURCE OUTPUT --text FILE` does",
};

export function perplexityWords(told: PerplexityReport): string {
  if ("absent" in told) return told.absent;
  const { before, after, delta, tokens, text } = told;
  const nats = `${delta > 0 ? "+" : ""}${delta.toFixed(4)} nats a token`;
  return `${before.toFixed(3)} before, ${after.toFixed(3)} after (${nats}; ${tokens} tokens of ${text})`;
}
