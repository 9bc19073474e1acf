// What `opswap status` takes with one engine, over what Node takes to do nothing. Beside it: through npx, and the least
// it could be, which is ZeroMQ loaded and one request answered. All take turns; ratios are within a round.
// Prints JSON. `--rounds N` (default 25).
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, cpus, loadavg } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { discover } = await import("../../dist/client/index.js");

const { values } = parseArgs({ options: { rounds: { type: "string", default: "25" } } });
const root = fileURLToPath(new URL("../..", import.meta.url));
const dir = mkdtempSync("/tmp/ow");
const env = { ...process.env, OPSWAP_RUNTIME_DIR: dir, npm_config_update_notifier: "false" };
const NPX_EVERY = 5;

/** @param {number[]} samples */
function median(samples) {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

async function startEngine() {
  const script = path.join(root, "test/ipc/real_engine.py");
  const child = spawn(process.env.OPSWAP_PYTHON ?? "python3", [script, "engine"], { env, stdio: "inherit" });
  while (!discover(dir).some((found) => found.pid === child.pid)) {
    if (child.exitCode !== null) throw new Error("the engine did not start");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return child;
}

const node = process.execPath;
const COMMANDS = {
  node: [node, "-e", "0"],
  status: [node, path.join(root, "dist/opswap.cjs"), "status"],
  floor: [node, path.join(root, "test/bench/_round_trip.cjs"), `ipc://${dir}/engine.sock`],
  npx: ["npx", "opswap", "status"],
};

/** Milliseconds. @param {string[]} command */
function timed([program = "", ...args]) {
  const start = performance.now();
  execFileSync(program, args, { cwd: root, env, stdio: ["ignore", "pipe", "inherit"] });
  return performance.now() - start;
}

/** @typedef {keyof typeof COMMANDS} Name */
const NAMES = /** @type {Name[]} */ (Object.keys(COMMANDS));
const load = { before: loadavg()[0] };
const engine = await startEngine();
// The first run leaves the compiled code that the next ones use.
for (const name of NAMES) timed(COMMANDS[name]);
/** @type {Partial<Record<Name, number>>[]} */
const rounds = [];
for (let i = 0; i < Number(values.rounds); i++) {
  const names = NAMES.filter((name) => name !== "npx" || i % NPX_EVERY === 0);
  rounds.push(Object.fromEntries(names.map((name) => [name, timed(COMMANDS[name])])));
}
engine.kill("SIGTERM");
await once(engine, "exit");
rmSync(dir, { recursive: true, force: true });

/** @param {Name} name */
const ms = (name) => Number(median(rounds.flatMap((round) => round[name] ?? [])).toFixed(1));
/** @param {Name} name */
function overNode(name) {
  const ratios = rounds.flatMap(({ node: bare, [name]: time }) => (bare && time ? [time / bare] : []));
  return Number(median(ratios).toFixed(2));
}
const report = {
  cpu: cpus()[0]?.model,
  cpus: availableParallelism(),
  node: process.version,
  load_average: { ...load, after: loadavg()[0] },
  rounds: rounds.length,
  unit: "times `node -e 0`",
  reach: 2.2,
  goal: 1.6,
  status: overNode("status"),
  floor: overNode("floor"),
  npx: overNode("npx"),
  milliseconds: Object.fromEntries(NAMES.map((name) => [name, ms(name)])),
};
console.log(JSON.stringify(report, null, 2));
