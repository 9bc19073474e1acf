// What the TypeScript client adds to an op: an N-API call, and a call through the sidecar on tensors in shared memory.
// Beside the sidecar runs the least that a ZeroMQ server could be, on the same op; the two take turns.
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
 * @typedef {{ besides: number[], inside: number[] }} Samples
 * @param {() => Promise<number>} roundTrip resolves to the nanoseconds inside the library
 * @param {number} calls
 * @returns {Promise<Samples>}
 */
async function trips(roundTrip, calls) {
  const samples = /** @type {Samples} */ ({ besides: [], inside: [] });
  for (let i = 0; i < calls; i++) {
    const start = performance.now();
    const elapsedUs = (await roundTrip()) / 1000;
    samples.besides.push((performance.now() - start) * 1000 - elapsedUs);
    samples.inside.push(elapsedUs);
  }
  return samples;
}

/** @param {Samples[]} rounds */
function told(rounds) {
  const besides = summary(rounds.flatMap((round) => round.besides));
  return { ...besides, op_median: summary(rounds.flatMap((round) => round.inside)).median };
}

const TURN = 20;

/**
 * The sides in turns of a few calls each, so that what else the machine does hits them alike. The first calls of a turn
 * find the caches as the other side has left them, and are not counted.
 * @template {string} Side
 * @param {Record<Side, () => Promise<number>>} sides
 */
async function inTurns(sides) {
  const names = /** @type {Side[]} */ (Object.keys(sides));
  const rounds = /** @type {Record<Side, Samples>[]} */ ([]);
  for (const name of names) await trips(sides[name], 3 * SKIPPED);
  const until = performance.now() + budgetMs * names.length;
  while (performance.now() < until || rounds.length < 5) {
    const round = /** @type {Record<Side, Samples>} */ ({});
    for (const name of names) {
      await trips(sides[name], TURN / 4);
      round[name] = await trips(sides[name], TURN);
    }
    rounds.push(round);
  }
  return rounds;
}

/** @param {Awaited<ReturnType<typeof connectSidecar>>} client @param {number} rows */
async function sidecarAndBare(client, rows) {
  const tensors = [
    client.tensor("float32", [rows, COLUMNS]),
    client.tensor("float32", [rows, COLUMNS]),
    client.tensor("float32", [COLUMNS]),
  ];
  // As the bare server's: pages that were never written are all the same one, which stays in the cache.
  for (const { bytes } of tensors) new Float32Array(bytes.buffer, 0, bytes.byteLength / 4).fill(1);
  const args = [tensors[1], tensors[0], tensors[2], 1e-6];
  const bare = await startBare(rows);
  const rounds = await inTurns({
    sidecar: async () => (await client.call("rms_norm", args)).elapsed_ns,
    bare: bare.call,
  });
  await bare.stop();
  for (const tensor of tensors) tensor.release();
  const ratios = rounds.map(
    ({ sidecar, bare }) => summary(sidecar.besides).median / summary(bare.besides).median,
  );
  return {
    over_bare: summary(ratios),
    ...told(rounds.map((round) => round.sidecar)),
    bare_zeromq: told(rounds.map((round) => round.bare)),
  };
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
  const rounds = await inTurns({
    named: async () => (await client.call("reshape_and_cache", tensors)).elapsed_ns,
  });
  for (const tensor of tensors) tensor.release();
  return told(rounds.map((round) => round.named));
}

/** @param {number} rows */
async function startBare(rows) {
  const address = `ipc://${dir}/bare.sock`;
  const server = python([path.join(here, "_bare_server.py"), address, `${rows}`, `${COLUMNS}`]);
  const socket = new Dealer({ linger: 0 });
  socket.connect(address);
  const request = Buffer.alloc(300);
  const call = async () => {
    await socket.send(request);
    const [reply] = await socket.receive();
    return Number(/** @type {Buffer} */ (reply).readBigInt64LE(0));
  };
  const stop = async () => {
    socket.close();
    await end(server);
  };
  return { call, stop };
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
const small = await sidecarAndBare(client, SMALL);
const large = await sidecarAndBare(client, LARGE);
const named = await warmCalls(client);
await client.close();
await end(sidecar);
const unit = "us besides the op";
const report = {
  ...machine,
  load_average: { ...load, after: loadavg()[0] },
  napi_call: napi,
  sidecar_64_mb: { unit, reach: "1.0 times bare_zeromq", goal: "0.9 times", ...large },
  sidecar_64_mb_named: { unit, reach: 250, goal: 100, ...named },
  sidecar_128_kb: { unit, ...small },
};
rmSync(dir, { recursive: true, force: true });
console.log(JSON.stringify(report, null, 2));
