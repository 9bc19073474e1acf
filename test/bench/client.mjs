// What the TypeScript client adds to an op: an N-API call, and a call through the sidecar on tensors in shared memory.
// Beside the sidecar runs the least that a ZeroMQ server could be, on the same op: that is the floor of this machine.
// Prints JSON. `--seconds N` for each part (default 3).
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, cpus, loadavg } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Dealer } from "zeromq";

const { connectSidecar, discover } = await import("../../dist/client/index.js");
const { loadNative } = await import("../../dist/native.js");

const { values } = parseArgs({ options: { seconds: { type: "string", default: "3" } } });
const budgetMs = Number(values.seconds) * 1000;
const here = path.dirname(fileURLToPath(import.meta.url));
const dir = mkdtempSync("/tmp/ow");
const COLUMNS = 1024;
const SKIPPED = 20;

/** @param {number[]} samples */
function summary(samples) {
  const sorted = samples.toSorted((a, b) => a - b);
  /** @param {number} p */
  const at = (p) =>
    Number((sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))] ?? 0).toFixed(3));
  return { median: at(0.5), p10: at(0.1), p90: at(0.9), p99: at(0.99), samples: sorted.length };
}

/** @param {string[]} args */
function python(args) {
  const env = { ...process.env, OPSWAP_RUNTIME_DIR: dir };
  return spawn(process.env.OPSWAP_PYTHON ?? "python3", args, { env, stdio: "inherit" });
}

/** @param {import("node:child_process").ChildProcess} child */
async function end(child) {
  child.kill("SIGTERM");
  await once(child, "exit");
}

/** Microseconds per call of the addon, on tensors so small that the op itself is next to nothing. */
function addonCalls() {
  const native = loadNative();
  const size = 16;
  const row = () => native.tensor(new Float32Array(size), "float32", [1, size]);
  const args = [row(), row(), native.tensor(new Float32Array(size), "float32", [size]), 1e-6];
  const batch = 2000;
  const samples = [];
  const until = performance.now() + budgetMs;
  while (performance.now() < until) {
    const start = performance.now();
    for (let i = 0; i < batch; i++) native.call("rms_norm", args);
    samples.push(((performance.now() - start) * 1000) / batch);
  }
  return summary(samples.slice(5));
}

/**
 * Microseconds of a round trip less the time inside the library.
 * @param {() => Promise<number>} roundTrip resolves to the nanoseconds inside the library
 */
async function roundTrips(roundTrip) {
  const besides = [];
  const inside = [];
  const until = performance.now() + budgetMs;
  for (let i = 0; performance.now() < until || i < 3 * SKIPPED; i++) {
    const start = performance.now();
    const elapsedUs = (await roundTrip()) / 1000;
    const total = (performance.now() - start) * 1000;
    if (i < SKIPPED) continue;
    besides.push(total - elapsedUs);
    inside.push(elapsedUs);
  }
  return { ...summary(besides), op_median: summary(inside).median };
}

/** @param {Awaited<ReturnType<typeof connectSidecar>>} client @param {number} rows */
async function sidecarCalls(client, rows) {
  const input = client.tensor("float32", [rows, COLUMNS]);
  const out = client.tensor("float32", [rows, COLUMNS]);
  const weight = client.tensor("float32", [COLUMNS]);
  for (const tensor of [input, out, weight]) tensor.bytes.fill(0);
  const args = [out, input, weight, 1e-6];
  const result = await roundTrips(async () => (await client.call("rms_norm", args)).elapsed_ns);
  for (const tensor of [input, out, weight]) tensor.release();
  return result;
}

/**
 * One token stored into a cache of 64 MB: as much memory is named, next to none is touched, so caches stay warm.
 * @param {Awaited<ReturnType<typeof connectSidecar>>} client
 */
async function warmCalls(client) {
  const [blocks, blockSize, heads, size] = [512, 16, 8, 128];
  const row = () => client.tensor("float32", [1, heads, size]);
  const cache = () => client.tensor("float32", [blocks, heads, blockSize, size]);
  const slots = client.tensor("int64", [1]);
  const tensors = [row(), row(), cache(), cache(), slots];
  for (const tensor of tensors) tensor.bytes.fill(0);
  const result = await roundTrips(async () => (await client.call("reshape_and_cache", tensors)).elapsed_ns);
  for (const tensor of tensors) tensor.release();
  return result;
}

/** @param {number} rows */
async function bareCalls(rows) {
  const address = `ipc://${dir}/bare.sock`;
  const server = python([path.join(here, "_bare_server.py"), address, `${rows}`, `${COLUMNS}`]);
  const socket = new Dealer({ linger: 0 });
  socket.connect(address);
  const request = Buffer.alloc(300);
  const result = await roundTrips(async () => {
    await socket.send(request);
    const [reply] = await socket.receive();
    return Number(/** @type {Buffer} */ (reply).readBigInt64LE(0));
  });
  socket.close();
  await end(server);
  return result;
}

async function startSidecar() {
  const child = python(["-m", "opswap.ipc.sidecar"]);
  while (!discover(dir).some((found) => found.pid === child.pid)) {
    if (child.exitCode !== null) throw new Error("the sidecar did not start");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return child;
}

/** Input and output together. @param {number} bytes */
const rowsOf = (bytes) => bytes / 2 / 4 / COLUMNS;
const SMALL = rowsOf(2 ** 17);
const LARGE = rowsOf(2 ** 26);

const machine = { cpu: cpus()[0]?.model, cpus: availableParallelism(), node: process.version };
const load = { before: loadavg()[0] };
const napi = { unit: "us per call", reach: 1, goal: 0.7, ...addonCalls() };
const sidecar = await startSidecar();
const client = await connectSidecar({ runtimeDir: dir });
// The small one first: it warms both interpreters up.
const small = await sidecarCalls(client, SMALL);
const large = await sidecarCalls(client, LARGE);
const named = await warmCalls(client);
await client.close();
await end(sidecar);
const report = {
  ...machine,
  load_average: { ...load, after: loadavg()[0] },
  napi_call: napi,
  sidecar_64_mb: {
    unit: "us besides the op",
    reach: 250,
    goal: 100,
    ...large,
    bare_zeromq: await bareCalls(LARGE),
  },
  sidecar_64_mb_named: { unit: "us besides the op", reach: 250, goal: 100, ...named },
  sidecar_128_kb: { unit: "us besides the op", ...small, bare_zeromq: await bareCalls(SMALL) },
};
rmSync(dir, { recursive: true, force: true });
console.log(JSON.stringify(report, null, 2));
