/** Completes a staging folder: side files, index, config.json, page and report. */
import path from "node:path";
import { indexText } from "../plan/output-index.js";
import type { Plan } from "../plan/types.js";
import { pageText } from "../report/page.js";
import { type Report, reportText } from "../report/report.js";
import { INDEX, PAGE, REPORT } from "../source/side-files.js";
import { type Staging, syncFolder } from "./staging.js";

/** The small files, and last the report, with which a staging folder is whole. */
export function publish(plan: Plan, staging: Staging, report: Report): void {
  for (const { name, path: from } of plan.side) staging.copy(name, from);
  const folders = new Set(plan.side.map(({ name }) => path.dirname(name)).filter((name) => name !== "."));
  for (const folder of folders) syncFolder(staging.file(folder));
  for (const { name, text } of plan.extra) staging.write(name, [text]);
  if (plan.indexed) staging.write(INDEX, indexText(plan.files));
  if (plan.config !== null) staging.write("config.json", [plan.config]);
  staging.write(PAGE, pageText(report));
  syncFolder(staging.folder);
  staging.write(REPORT, reportText(report));
}
