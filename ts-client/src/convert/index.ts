/** The converter as a library: `convert(source, output, options)`, or its parts. */
export { type Acceptance, accept, parseAcceptance } from "./accept.js";
export { type Checked, check } from "./check/check.js";
export { brokenConstraints, type Constraint } from "./constraints.js";
export { type DiffEntry, diff } from "./diff.js";
export { type Estimate, estimate } from "./estimate.js";
export type { ConvertEvent, Emit } from "./events.js";
export { FORMATS } from "./formats/index.js";
export { SCALE_RULES } from "./formats/types.js";
export { type Inspection, inspect } from "./inspect.js";
export { type Part, parsePart } from "./parts.js";
export { type PerplexityOptions, perplexity } from "./perplexity.js";
export type { MeasuredPerplexity } from "./perplexity-report.js";
export { type ConvertOptions, DEFAULTS, makePlan, type Nonfinite, type Plan } from "./plan.js";
export { POLICIES, type PolicyName } from "./policy.js";
export { type PolicyView, policyView } from "./policy-view.js";
export { runPool } from "./pool.js";
export { READER_IDS, READERS, type Reader } from "./readers/readers.js";
export { optionsFor, type Report, readReport, readSummary, type Summary } from "./report.js";
export { defaultThreads, merge, type RunOptions, run, runPart } from "./run.js";
export { openSource, type Source } from "./source.js";
export { checkVerdict, type Verdict, verify } from "./verify.js";

import type { Emit } from "./events.js";
import { type ConvertOptions, DEFAULTS, makePlan } from "./plan.js";
import type { Report } from "./report.js";
import { type RunOptions, run } from "./run.js";
import { openSource } from "./source.js";
import { checkVerdict, verify } from "./verify.js";

/** Plans, runs and verifies. */
export async function convert(
  source: string,
  output: string,
  options: Partial<ConvertOptions> & RunOptions & { tokenizer?: string } = {},
  emit: Emit = () => {},
): Promise<Report> {
  const { threads, restart, tokenizer, checksums = true, ...chosen } = options;
  const plan = makePlan(openSource(source, tokenizer), { ...DEFAULTS, ...chosen });
  const how = { checksums, ...(threads ? { threads } : {}), ...(restart ? { restart } : {}) };
  const report = await run(plan, output, how, emit);
  checkVerdict(await verify(plan, output, threads, emit), output);
  return report;
}
