import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pythonEnvironment } from "../../ts-client/src/python-environment.js";
import { fakeEngine, opswap, root, type Server, scratch } from "./harness.js";

const { dir, remove } = scratch();
const recordings = path.join(dir, "recordings");
const env = {
  OPSWAP_RUNTIME_DIR: dir,
  OPSWAP_STATE_DIR: path.join(dir, "state"),
  OPSWAP_RECORDINGS: recordings,
};
let engine: Server;

beforeAll(async () => {
  mkdirSync(recordings, { mode: 0o700 });
  const { python, env: host } = pythonEnvironment();
  execFileSync(python, [path.join(root, "test/cli/record.py"), recordings], { env: host });
  process.env.OPSWAP_RECORDINGS = recordings;
  engine = await fakeEngine(dir, "first");
});
afterAll(async () => {
  await engine.stop();
  delete process.env.OPSWAP_RECORDINGS;
  remove();
});

describe("quarantine", () => {
  it("says what came of a candidate, keeps it, and is in the audit", async () => {
    expect((await opswap(["quarantine"], env)).out).toBe("no candidate was in quarantine yet\n");
    const ran = await opswap(["quarantine", "rms_norm", "ref", "--control", "ref", "--reason", "new"], env);
    expect(ran).toMatchObject({ err: "", code: 0 });
    expect(ran.out).toMatch(
      /^rms_norm: ref against ref: passed, 1 calls in .*\n {2}bit-equal in all of them/,
    );
    expect(ran.out).toMatch(/BUCKET +CALLS +CONTROL +CANDIDATE\nT4 H4 float32 +1 +[\d.e-]+ +[\d.e-]+$/m);
    expect((await opswap(["quarantine", "rms_norm"], env)).out).toMatch(
      /^rms_norm +ref +ref +passed +1 +yes/m,
    );
    const { out } = await opswap(["audit", "show"], env);
    expect(out).toMatch(/quarantine rms_norm ref/);
    expect(existsSync(path.join(dir, "first.quarantine"))).toBe(true);
  });

  it("exits 1 where there is nothing to replay, and says what to do", async () => {
    const ran = await opswap(["quarantine", "linear", "ref"], env);
    expect(ran.code).toBe(1);
    expect(ran.err).toMatch(/no recording of it in .*OPSWAP_E_QUARANTINE[\s\S]*record start linear/);
  });

  it("names an implementation that is not there", async () => {
    const ran = await opswap(["quarantine", "rms_norm", "cup"], env);
    expect(ran.code).toBe(2);
    expect(ran.err).toMatch(/did you mean cpu/);
  });

  it("takes no more calls than an engine does", async () => {
    expect((await opswap(["quarantine", "rms_norm", "cpu", "--calls", "0"], env)).code).toBe(2);
  });
});
