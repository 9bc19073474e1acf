// A suite under one version of a runtime: run with its output in a log, and told as a row of a table.
import { closeSync, mkdirSync, openSync } from "node:fs";
import { join, relative } from "node:path";
import { logDir, root } from "./paths.mjs";
import { step } from "./ui.mjs";

/** @typedef {import("./results.mjs").Results} Results */
/** @typedef {{ runtime: string, suite: string }} What */
/** @typedef {What & { results: Results, seconds: number, log: string }} Row */

/** @param {What} what @param {(log: import("./runners.mjs").Log) => Promise<Results>} work @returns {Promise<Row>} */
export async function timedSuite(what, work) {
  mkdirSync(logDir, { recursive: true });
  const name = `versions-${what.runtime}-${what.suite}`.replaceAll(/[^\w.]+/g, "-");
  const file = join(logDir, `${name}.log`);
  const fd = openSync(file, "w");
  const began = Date.now();
  try {
    const results = await step(`${what.runtime}: ${what.suite}`, () => work({ fd }));
    return { ...what, results, seconds: Math.round((Date.now() - began) / 1000), log: relative(root, file) };
  } finally {
    closeSync(fd);
  }
}

/** As Markdown has it. @param {Row[]} rows */
export function versionTable(rows) {
  const cells = rows.map(({ runtime, suite, results, seconds }) => {
    const { passed, failed, skipped } = results;
    return [runtime, suite, passed, failed.length, skipped.length, seconds];
  });
  const head = ["runtime", "suite", "passed", "failed", "skipped", "s"];
  return [head, head.map(() => "---"), ...cells].map((row) => `| ${row.join(" | ")} |`).join("\n");
}
