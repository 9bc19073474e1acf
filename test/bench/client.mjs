// What the TypeScript client adds to an op: an N-API call, and a call through the sidecar on 64 MB in shared memory.
// Prints JSON. `--seconds N` for each part (default 3).
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { parseArgs } from "node:util";

const { connectSidecar, discover } = await import("../../dist/client/index.js");
const { loadNative } = await import("../../dist/native.js");

const { values } = parseArgs({ options: { seconds: { type: "string", default: "3" } } });
const budgetMs = Number(values.seconds) * 1000;
const MEBI = 1 << 20;

/** @param {number[]} samples */
function summary(samples) {
  const sorted = samples.toSorted((a, b) => a - b);
  /** @param {number} p */
  const at = (p) =>
    Number((sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))] ?? 0).toFixed(3));
  return { median: at(0.5), p10: at(0.1), p90: at(0.9), p99: at(0.99), samples: sorted.length };
}

/** Microseconds per call of the addon, on tensors so small that the op itself is next to nothing. */
function addonCalls() {
  const native = loadNative();
  const size = 16;
  const row = () => native.tensor(new Float32Array(size), "float32", [1, size]);
  const weight = native.tensor(new Float32Array(size), "float32", [size]);
  const args = [row(), row(), weight, 1e-6];
  const batch = 2000;
  const samples = [];
  const end = performance.now() + budgetMs;
  while (performance.now() < end) {
    const start = performance.now();
    for (let i = 0; i < batch; i++) native.call("rms_norm", args);
    samples.push(((performance.now() - start) * 1000) / batch);
  }
  return { unit: "us per call", reach: 1, goal: 0.7, ...summary(samples.slice(5)) };
}

/** @param {string} dir */
async function startSidecar(dir) {
  const env = { ...process.env, OPSWAP_RUNTIME_DIR: dir };
  const args = ["-m", "opswap.ipc.sidecar"];
  const child = spawn(process.env.OPSWAP_PYTHON ?? "python3", args, { env, stdio: "inherit" });
  while (!discover(dir).some((found) => found.pid === child.pid)) {
    if (child.exitCode !== null) throw new Error("the sidecar did not start");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return child;
}

/**
 * Microseconds of a call through the sidecar less the time inside the library.
 * @param {Awaited<ReturnType<typeof connectSidecar>>} client @param {number} bytes of input
 */
async function sidecarCalls(client, bytes) {
  const columns = 1024;
  const rows = bytes / 4 / columns;
  const input = client.tensor("float32", [rows, columns]);
  const out = client.tensor("float32", [rows, columns]);
  const weight = client.tensor("float32", [columns]);
  for (const tensor of [input, out, weight]) tensor.bytes.fill(0);
  const overhead = [];
  const inside = [];
  const end = performance.now() + budgetMs;
  for (let i = 0; performance.now() < end || i < 50; i++) {
    const start = performance.now();
    const { elapsed_ns } = await client.call("rms_norm", [out, input, weight, 1e-6]);
    const total = (performance.now() - start) * 1000;
    if (i < 20) continue;
    overhead.push(total - elapsed_ns / 1000);
    inside.push(elapsed_ns / 1000);
  }
  for (const tensor of [input, out, weight]) tensor.release();
  return {
    unit: "us besides the op",
    input_bytes: bytes,
    ...summary(overhead),
    op_us: summary(inside).median,
  };
}

const dir = mkdtempSync("/tmp/ow");
const sidecar = await startSidecar(dir);
const client = await connectSidecar({ runtimeDir: dir });
const report = {
  cpu: cpus()[0]?.model,
  cpus: availableParallelism(),
  node: process.version,
  napi_call: addonCalls(),
  sidecar_64_mb: { reach: 250, goal: 100, ...(await sidecarCalls(client, 64 * MEBI)) },
  sidecar_64_kb: await sidecarCalls(client, 65_536),
};
await client.close();
sidecar.kill("SIGTERM");
await once(sidecar, "exit");
rmSync(dir, { recursive: true, force: true });
console.log(JSON.stringify(report, null, 2));
