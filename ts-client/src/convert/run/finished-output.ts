/** Finds the report of an equal, earlier conversion in an output or staging folder; refuses what another left there. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { convertError } from "../errors.js";
import type { Plan } from "../plan/types.js";
import { type Report, readReport } from "../report/report.js";

/** The report where this conversion made the output already; undefined where there is none or an empty folder. */
export function finishedOutput(plan: Plan, output: string): Report | undefined {
  if (!existsSync(output)) return undefined;
  if (statSync(output).isDirectory() && readdirSync(output).length === 0) return undefined;
  const report = statSync(output).isDirectory() ? readReport(output) : undefined;
  if (report?.fingerprint === plan.fingerprint) return report;
  const what = report === undefined ? "exists" : "is the output of another conversion";
  throw convertError("OPSWAP_E_OUTPUT", `${output} ${what}`);
}

/** As above for a staging folder. The report is written last, so one that has it lacks only its move to the output. */
export function finishedStaging(plan: Plan, folder: string): Report | undefined {
  const report = readReport(folder);
  if (report !== undefined && report.fingerprint !== plan.fingerprint)
    throw convertError("OPSWAP_E_STALE", `${folder} is the output of another conversion`);
  return report;
}
