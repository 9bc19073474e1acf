/** A run that has just been made: a slow start is a start, and one whose process is gone is lost. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, expect, it, vi } from "vitest";
import { parseSpec } from "../../ts-client/src/experiments/spec/read-file.js";
import { sha256 } from "../../ts-client/src/experiments/store/files.js";
import { createRun, readRun, writeLaunched } from "../../ts-client/src/experiments/store/index.js";
import { SPEC_TEXT } from "./samples.js";

afterEach(() => void vi.useRealTimers());

function made() {
  const folder = mkdtempSync(path.join(tmpdir(), "opswap-runs-"));
  const read = parseSpec("spec.yaml", SPEC_TEXT);
  const { spec } = read;
  if (spec.kind !== "Experiment") throw new Error(spec.kind);
  const stored = { ...read, spec, sha256: sha256(read.text), time: new Date().toISOString(), who: "w" };
  const run = createRun(folder, stored, { engine: "e", mode: "shadow", who: "w" });
  return { folder, run, now: () => readRun(folder, run.experiment, run.id) };
}

const hourLater = () => vi.useFakeTimers({ now: Date.now() + 3_600_000, toFake: ["Date"] });

it("has begun while the process that was started as its controller lives, however slow that is", () => {
  const { folder, run, now } = made();
  writeLaunched(folder, run, process.pid);
  hourLater();
  expect(now()).toMatchObject({ phase: "starting", controller: { pid: process.pid } });
});

it("is lost as soon as that process is gone, and says which it was", async () => {
  const { folder, run, now } = made();
  const child = spawn("sleep", ["60"]);
  writeLaunched(folder, run, child.pid ?? 0);
  expect(now()?.phase).toBe("starting");
  child.kill("SIGKILL");
  await once(child, "exit");
  expect(now()).toMatchObject({
    phase: "lost",
    reason: expect.stringContaining(`process ${child.pid}, is gone`),
  });
});

it("is lost where nobody started a process for it", () => {
  const { now } = made();
  expect(now()?.phase).toBe("starting");
  hourLater();
  expect(now()).toMatchObject({ phase: "lost", reason: "its controller did not begin" });
});
