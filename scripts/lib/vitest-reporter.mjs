// Writes a vitest run in the shape of results.mjs, with the reason that each skip carries.
import { writeFileSync } from "node:fs";
import { withMessage } from "./results.mjs";

/** @typedef {import("./results.mjs").Results} Results */

export default class ResultsReporter {
  /** @param {readonly import("vitest/node").TestModule[]} modules @param {readonly unknown[]} unhandled */
  onTestRunEnd(modules, unhandled) {
    const failed = unhandled.map((error) => `unhandled: ${String(error)}`);
    /** @type {Results} */
    const results = { passed: 0, failed, skipped: [] };
    for (const module of modules) {
      for (const _ of module.errors()) failed.push(`${module.moduleId}: does not load`);
      for (const test of module.children.allTests()) count(results, test);
    }
    const file = process.env.OPSWAP_RESULTS;
    if (file) writeFileSync(file, JSON.stringify(results));
  }
}

/** @param {Results} results @param {import("vitest/node").TestCase} test */
function count(results, test) {
  const result = test.result();
  if (result.state === "passed") results.passed += 1;
  else if (result.state === "failed")
    results.failed.push(withMessage(test.fullName, result.errors[0]?.message ?? ""));
  else
    results.skipped.push({
      name: test.fullName,
      reason: ("note" in result && result.note) || "no reason given",
    });
}
