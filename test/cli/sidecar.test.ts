import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, expect, it } from "vitest";
import { type DiscoveredService, discover } from "../../ts-client/src/client/index.js";
import { startTime } from "../../ts-client/src/client/process.js";
import { formatNpy } from "../../ts-client/src/tensorfile/npy.js";
import { cli, opswap, scratch } from "./harness.js";

const { dir, remove } = scratch();
const env = { OPSWAP_RUNTIME_DIR: dir };
const running = new Set<ChildProcess>();
afterAll(async () => {
  for (const child of running) await stop(child, "SIGTERM");
  remove();
});

/** `opswap sidecar ...`, once it has said that it answers. */
async function sidecar(...args: string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [cli, "sidecar", ...args], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  running.add(child);
  let said = "";
  for await (const chunk of child.stderr ?? []) {
    said += chunk;
    if (said.includes("answers")) return child;
  }
  throw new Error(`opswap sidecar ${args.join(" ")} did not start: ${said}`);
}

async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  running.delete(child);
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill(signal);
  await ended;
}

const named = (name: string): DiscoveredService | undefined =>
  discover(dir).find((found) => found.name === name);

it("a sidecar ends with the command that was killed, and its name is free", async () => {
  const first = await sidecar("--name", "first");
  const { pid } = named("first") ?? { pid: 0 };
  expect(pid).not.toBe(first.pid);
  await stop(first, "SIGKILL");
  await expect.poll(() => startTime(pid), { timeout: 60_000 }).toBeNull();
  expect(named("first")).toBeUndefined();
  await stop(await sidecar("--name", "first"), "SIGTERM");
});

it("a name that is taken: the remedy helps, and each sidecar is called by its name", async () => {
  writeFileSync(
    path.join(dir, "x.npy"),
    formatNpy("x", { dtype: "float32", shape: [1, 2], bytes: new Uint8Array(Float32Array.of(3, 4).buffer) }),
  );
  await sidecar();
  const refused = await opswap(["sidecar"], env);
  expect(refused).toMatchObject({ code: 1, out: "" });
  expect(refused.err).toMatch(/^opswap: sidecar sidecar is running already .*\[OPSWAP_E_ENGINE_TAKEN\]\n/);
  expect(refused.err).toMatch(/`opswap sidecar --name NAME`.*`opswap call --sidecar NAME`/);
  expect(refused.err).not.toMatch(/OPSWAP_ENGINE_NAME/);

  await sidecar("--name", "second", "--threads", "1");
  const words = ["call", "rms_norm", `input=${dir}/x.npy`, `weight=none`];
  const calls = async (name: string) => {
    const { ranks } = JSON.parse((await opswap(["ops", "--sidecar", name, "--json"], env)).out);
    const row = ranks[0].ops.find((op: { op: string }) => op.op === "silu_and_mul");
    return row.impls.reduce((sum: number, impl: { calls: number }) => sum + impl.calls, 0);
  };
  const silu = ["call", "silu_and_mul", `input=${dir}/x.npy`];
  expect(await opswap([...silu, "--sidecar", "second"], env)).toMatchObject({ code: 0, err: "" });
  expect([await calls("sidecar"), await calls("second")]).toEqual([0, 1]);
  expect(await opswap(silu, env)).toMatchObject({ code: 0, err: "" });
  expect([await calls("sidecar"), await calls("second")]).toEqual([1, 1]);

  const nowhere = await opswap([...words, "--sidecar", "secnod"], env);
  expect(nowhere.code).toBe(3);
  expect(nowhere.err).toMatch(/did you mean second\?.*\n {2}start it: `opswap sidecar --name secnod`/);
  const unknown = await opswap([...silu, "--impl", "reff", "--sidecar", "second"], env);
  expect(unknown.err).toMatch(/opswap why silu_and_mul --sidecar second/);
  const followed = await opswap(["why", "silu_and_mul", "--sidecar", "second"], env);
  expect(followed).toMatchObject({ code: 0, out: expect.stringMatching(/ ref +yes/) });
});
