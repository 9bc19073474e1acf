// What an installed opswap takes to start: `opswap --version` over what Node takes to do nothing, and, in a process that
// does nothing else, how long the addon takes to load. All take turns; ratios are within a round. Prints JSON.
// `--rounds N` (default 25).
import { execFileSync } from "node:child_process";
import { availableParallelism, cpus, loadavg } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "25" } } });
const root = fileURLToPath(new URL("../..", import.meta.url));
const node = process.execPath;
const cli = path.join(root, "dist/opswap.cjs");
const addon = path.join(root, "build/native/opswap.node");
const LOAD = `const from = performance.now(); require(process.argv[1]); console.log(performance.now() - from)`;
const CLIENT = `const from = performance.now(); const { connectLocal } = await import(process.argv[1]); await connectLocal(); console.log(performance.now() - from)`;

/** Milliseconds of a whole process, and what it printed. @param {string[]} args @returns {[number, string]} */
function timed(...args) {
  const start = performance.now();
  const out = execFileSync(node, args, { encoding: "utf8" });
  return [performance.now() - start, out];
}

/** @param {number[]} samples */
function median(samples) {
  const sorted = samples.toSorted((a, b) => a - b);
  return Number((sorted[sorted.length >> 1] ?? 0).toFixed(2));
}

function round() {
  const [bare] = timed("-e", "0");
  const [version] = timed(cli, "--version");
  const load = Number(timed("-e", LOAD, addon)[1]);
  const client = Number(
    timed("--input-type=module", "-e", CLIENT, path.join(root, "dist/client/index.js"))[1],
  );
  return { bare, version, over: version / bare, load, client };
}

const load = { before: loadavg()[0] };
// The first run leaves the compiled code that the next ones use.
round();
const rounds = Array.from({ length: Number(values.rounds) }, round);
/** @param {keyof ReturnType<typeof round>} name */
const of = (name) => median(rounds.map((one) => one[name]));
const report = {
  cpu: cpus()[0]?.model,
  cpus: availableParallelism(),
  node: process.version,
  load_average: { ...load, after: loadavg()[0] },
  rounds: rounds.length,
  version: { unit: "times `node -e 0`", reach: 1.6, goal: 1.3, median: of("over") },
  addon: { unit: "ms", reach: 30, goal: 15, median: of("load") },
  client: { unit: "ms, import of the client and connectLocal()", median: of("client") },
  milliseconds: { node: of("bare"), version: of("version") },
};
console.log(JSON.stringify(report, null, 2));
