import { readFileSync, utimesSync } from "node:fs";
import path from "node:path";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { fakeEngine, opswap, type Server, scratch } from "./harness.js";

const { dir, remove } = scratch();
const env = { OPSWAP_RUNTIME_DIR: dir };
let engine: Server | undefined;
afterEach(async () => {
  await engine?.stop();
  engine = undefined;
});
afterAll(remove);

const recordOf = (name: string) => path.join(dir, `${name}.json`);
const pidOf = (name: string): number => JSON.parse(readFileSync(recordOf(name), "utf8")).pid;

/** What `status` says of it without being asked for it by name, and what verbs and the doctor say. */
async function told(name: string) {
  const [status, json, why, doctor] = await Promise.all([
    opswap(["status"], env),
    opswap(["status", "--json"], env),
    opswap(["why", "rms_norm", "--engine", name], env),
    opswap(["doctor", "--engine", name], env),
  ]);
  const [standing] = JSON.parse(json.out);
  return { status, standing, why, doctor };
}

describe("an engine that gives no account of itself is told apart", () => {
  it("nobody: the folders that were searched are named", async () => {
    const { code, err } = await opswap(["status"], env);
    expect(code).toBe(3);
    expect(err).toContain(`no engine and no sidecar is running (looked in ${dir})`);
  });

  it("starting: it has its name, and verbs are refused until it answers", async () => {
    engine = await fakeEngine(dir, "slow", "--starting");
    const { status, standing, why, doctor } = await told("slow");
    expect(status.code).toBe(0);
    expect(status.out).toMatch(
      /^engine slow: starting, process \d+, in \S+: process \d+ has loaded for \d+ s$/m,
    );
    expect(status.out).toContain(`looked in ${dir}`);
    expect(standing).toMatchObject({ name: "slow", state: "starting", folder: dir });
    expect(why.code).toBe(3);
    expect(why.err).toMatch(/engine slow is starting: .*\[OPSWAP_E_STARTING\]\n {2}wait until/);
    expect(doctor.code).toBe(1);
    expect(doctor.out).toMatch(/^fail {2}engine: engine slow is starting: .*\n +wait until/m);
  });

  it("rank-less: the agent answers with what it knows, and says that the ranks do not", async () => {
    engine = await fakeEngine(dir, "mute", "--deaf");
    const { status, standing, why, doctor } = await told("mute");
    expect(status.code).toBe(0);
    expect(status.out).toMatch(/^engine mute: rank-less, /m);
    expect(status.out).toMatch(/RANKS DO NOT ANSWER: status: not every rank answered in 0.3 s/);
    expect(standing.status).toMatchObject({ name: "mute", ranks: [], framework: { name: "fake" } });
    expect(why.err).toMatch(/not every rank answered in 0.3 s/);
    expect(doctor.code).toBe(1);
    expect(doctor.out).toMatch(/^fail {2}ranks: status: not every rank answered/m);
  });

  it("hung: its process lives and gives no sign of life", async () => {
    engine = await fakeEngine(dir, "stuck");
    const pid = pidOf("stuck");
    process.kill(pid, "SIGSTOP");
    try {
      const minuteAgo = Date.now() / 1000 - 60;
      utimesSync(recordOf("stuck"), minuteAgo, minuteAgo);
      const { status, standing, why, doctor } = await told("stuck");
      expect(status.out).toMatch(
        /^engine stuck: hung, process \d+, in .*has shown no sign of life for \d+ s/m,
      );
      expect(standing.state).toBe("hung");
      expect(why.err).toMatch(/engine stuck is hung: process \d+ has shown no sign of life for \d+ s/);
      expect(why.err).toMatch(/end its process and start it again/);
      expect(doctor.code).toBe(1);
      expect(doctor.out).toMatch(/^fail {2}engine: engine stuck is hung: /m);
    } finally {
      process.kill(pid, "SIGCONT");
    }
  });

  it("dead: its record is left", async () => {
    engine = await fakeEngine(dir, "gone");
    process.kill(pidOf("gone"), "SIGKILL");
    await engine.stop();
    const { status, standing, why } = await told("gone");
    expect(status.out).toMatch(/^engine gone: dead, process \d+, in .*: its process \d+ has ended$/m);
    expect(standing.state).toBe("dead");
    expect(why.err).toMatch(/no engine named gone is running \(looked in .*\): its process \d+ has ended/);
  });

  it("double: a second one of the name is refused, with the process and the folder of the first", async () => {
    engine = await fakeEngine(dir, "first", "--starting");
    await expect(fakeEngine(dir, "first")).rejects.toThrow(/ended with 1 before it was ready/);
    await expect(fakeEngine(dir, "first", "--starting")).rejects.toThrow(/ended with 1 before it was ready/);
    expect((await opswap(["status", "--json"], env)).out).toContain('"starting"');
  });
});
