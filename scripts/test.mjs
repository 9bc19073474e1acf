// `npm test`: builds, then runs every suite; `--fast` leaves out those that need a framework or the emulator.
// Ends with a table of the suites; the last line is the count over all of them; a skip is listed with its reason.
import { total } from "./lib/results.mjs";
import { sideBySide } from "./lib/schedule.mjs";
import { build } from "./lib/setup.mjs";
import { allSuites } from "./lib/suites.mjs";
import { table } from "./lib/table.mjs";
import { runMain } from "./lib/ui.mjs";

await runMain(async () => {
  const began = Date.now();
  const fastOnly = process.argv.includes("--fast");
  const workshop = await build();
  const buildMs = Date.now() - began;
  const suites = allSuites().filter((suite) => suite.tier === "fast" || !fastOnly);
  const outcomes = await sideBySide(suites, workshop);
  const sum = total(outcomes.map((outcome) => outcome.results));
  for (const { name, reason } of sum.skipped) console.log(`skipped: ${name}: ${reason || "no reason given"}`);
  for (const name of sum.failed) console.log(`failed: ${name}`);
  console.log(`\n${table(buildMs, outcomes, Date.now() - began)}\n`);
  console.log(`${sum.passed} passed, ${sum.failed.length} failed, ${sum.skipped.length} skipped`);
  return sum.failed.length === 0 ? 0 : 1;
});
