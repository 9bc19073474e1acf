// `npm test`: builds, then runs every suite; `--fast` leaves out those that need a framework or the emulator.
// The last line is the count over all suites; a skip is listed with its reason.
import { total } from "./lib/results.mjs";
import { build } from "./lib/setup.mjs";
import { allSuites } from "./lib/suites.mjs";
import { runMain, SetupError, say } from "./lib/ui.mjs";

/** @typedef {import("./lib/results.mjs").Results} Results */

/**
 * A suite that cannot be prepared is a failure of its own, and the others still run.
 * @param {import("./lib/suites.mjs").Suite} suite
 * @param {import("./lib/setup.mjs").Workshop} workshop
 * @returns {Promise<Results>}
 */
async function runSuite(suite, workshop) {
  say(`\n== ${suite.name}`);
  try {
    return await suite.run(workshop);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(`opswap: ${suite.name}: ${error.message}`);
    return { passed: 0, failed: 1, skipped: [] };
  }
}

/** @param {Results} sum */
function report(sum) {
  for (const { name, reason } of sum.skipped) console.log(`skipped: ${name}: ${reason || "no reason given"}`);
  console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped.length} skipped`);
}

await runMain(async () => {
  const fastOnly = process.argv.includes("--fast");
  const workshop = await build();
  const results = [];
  for (const suite of allSuites()) {
    if (suite.tier === "fast" || !fastOnly) results.push(await runSuite(suite, workshop));
  }
  console.log("");
  const sum = total(results);
  report(sum);
  return sum.failed === 0 ? 0 : 1;
});
