// `npm run versions -- KIND`: tests under each version of a runtime, and a table; a kind is a file of lib/versions.
import { readdirSync } from "node:fs";
import { join, parse } from "node:path";
import { root } from "./lib/paths.mjs";
import { build } from "./lib/setup.mjs";
import { versionTable } from "./lib/timed-suite.mjs";
import { runMain, SetupError } from "./lib/ui.mjs";

const KINDS = readdirSync(join(root, "scripts/lib/versions")).map((file) => parse(file).name);

await runMain(async () => {
  const [kind = ""] = process.argv.slice(2);
  if (!KINDS.includes(kind)) throw new SetupError(`npm run versions -- KIND; there are: ${KINDS.join(", ")}`);
  const { run } = await import(`./lib/versions/${kind}.mjs`);
  /** @type {import("./lib/timed-suite.mjs").Row[]} */
  const rows = await run(await build());
  for (const { runtime, suite, log, results } of rows) {
    for (const { name, reason } of results.skipped) console.log(`skipped, ${runtime}: ${name}: ${reason}`);
    for (const name of results.failed) console.log(`failed, ${runtime}, ${suite} (${log}): ${name}`);
  }
  console.log(`\n${versionTable(rows)}`);
  return rows.some(({ results }) => results.failed.length > 0) ? 1 : 0;
});
