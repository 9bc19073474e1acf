/** Recognises an output, or a staging folder, that the same conversion has finished already. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { convertError } from "../errors.js";
import type { Plan } from "../plan/types.js";
import { type Report, readReport } from "../report/report.js";

/** The report of an output that this conversion made already; refuses any other. */
export function finishedOutput(plan: Plan, output: string): Report | undefined {
  if (!existsSync(output)) return undefined;
  if (statSync(output).isDirectory() && readdirSync(output).length === 0) return undefined;
  const report = statSync(output).isDirectory() ? readReport(output) : undefined;
  if (report?.fingerprint === plan.fingerprint) return report;
  const what = report === undefined ? "exists" : "is the output of another conversion";
  throw convertError("OPSWAP_E_OUTPUT", `${output} ${what}`);
}

/** A staging folder with its report is whole: the run was cut while it was published. */
export function finishedStaging(plan: Plan, folder: string): Report | undefined {
  const report = readReport(folder);
  if (report !== undefined && report.fingerprint !== plan.fingerprint)
    throw convertError("OPSWAP_E_STALE", `${folder} is the output of another conversion`);
  return report;
}
