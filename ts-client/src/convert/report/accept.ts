/** --accept: publishes an output only if its perplexity is good enough. */
import { convertError } from "../errors.js";
import { perplexity } from "./perplexity.js";
import { perplexityWords } from "./perplexity-report.js";

/** What an output must measure before it is published. */
export interface Acceptance {
  /** As it was asked for. */
  text: string;
  limit: number;
  /** Whether the limit is of the source's perplexity, or a perplexity itself. */
  relative: boolean;
}

/** Reads `ppl<1.01x`, times the source's, or `ppl<12.5`. */
export function parseAcceptance(text: string): Acceptance | undefined {
  const { limit, times } = /^\s*ppl\s*<\s*(?<limit>\d+(\.\d+)?)(?<times>x?)\s*$/.exec(text)?.groups ?? {};
  if (limit === undefined || Number(limit) <= 0) return undefined;
  return { text, limit: Number(limit), relative: times === "x" };
}

export interface AcceptOptions {
  acceptance: Acceptance;
  /** A file of text to measure on. */
  text: string;
  tokens?: number;
}

/** Measures an output that is whole and not yet at its place; refuses it where it is worse than was asked for. */
export async function accept(source: string, folder: string, options: AcceptOptions): Promise<void> {
  const { acceptance, ...measuring } = options;
  const found = await perplexity(source, folder, measuring);
  const limit = acceptance.relative ? acceptance.limit * found.before : acceptance.limit;
  if (found.after < limit) return;
  throw convertError(
    "OPSWAP_E_NOT_ACCEPTED",
    `--accept ${acceptance.text}: perplexity ${perplexityWords(found)}, and ${limit.toFixed(3)} was asked for`,
    `keep more layers (--keep), or another layout; the output stays in ${folder}, and --restart removes it`,
  );
}
