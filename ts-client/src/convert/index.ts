/** The converter as a library: `convert(source, output, options)`, or its parts. */

export type { Nonfinite } from "../types/convert-job.js";
export { type CheckResult, check } from "./check/check.js";
export { type DiffEntry, diff } from "./check/diff.js";
export { inspect } from "./check/inspect.js";
export { FORMATS } from "./formats/index.js";
export {
  POLICIES,
  type PolicyName,
  READER_IDS,
  READERS,
  type Reader,
  SCALE_RULES,
} from "./options/choices.js";
export { type ConvertOptions, DEFAULTS } from "./options/options.js";
export { brokenConstraints, type Constraint } from "./plan/constraints.js";
export { makePlan } from "./plan/plan.js";
export { type PolicyView, policyView } from "./plan/policy-view.js";
export type { Plan } from "./plan/types.js";
export { type Acceptance, accept, parseAcceptance } from "./report/accept.js";
export { type PerplexityOptions, perplexity } from "./report/perplexity.js";
export type { MeasuredPerplexity } from "./report/perplexity-report.js";
export { optionsFor, type Report, readReport, readSummary, type Summary } from "./report/report.js";
export { type Estimate, estimate } from "./run/estimate.js";
export type { ConvertEvent, Emit } from "./run/events.js";
export { type Part, parsePart } from "./run/parts.js";
export { runPool } from "./run/pool.js";
export { defaultThreads, merge, type RunOptions, run, runPart } from "./run/run.js";
export { checkVerdict, type Verdict, verify } from "./run/verify.js";
export type { Inspection } from "./source/inspection.js";
export { openSource } from "./source/open.js";
export type { Source } from "./source/source.js";

import { type ConvertOptions, DEFAULTS } from "./options/options.js";
import { makePlan } from "./plan/plan.js";
import type { Report } from "./report/report.js";
import type { Emit } from "./run/events.js";
import { type RunOptions, run } from "./run/run.js";
import { checkVerdict, verify } from "./run/verify.js";
import { openSource } from "./source/open.js";

/** Plans, runs and verifies. */
export async function convert(
  source: string,
  output: string,
  options: Partial<ConvertOptions> & RunOptions & { tokenizer?: string } = {},
  emit: Emit = () => {},
): Promise<Report> {
  const { threads, restart, tokenizer, checksums = true, ...chosen } = options;
  const plan = makePlan(openSource(source, tokenizer), { ...DEFAULTS, ...chosen });
  const runOptions = { checksums, ...(threads ? { threads } : {}), ...(restart ? { restart } : {}) };
  const report = await run(plan, output, runOptions, emit);
  checkVerdict(await verify(plan, output, threads, emit), output);
  return report;
}
