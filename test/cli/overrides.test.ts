/** Overrides, freezes, panic, and switches taken back, as a user asks for them. */
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { fakeEngine, opswap, root, type Server, scratch } from "./harness.js";

const { dir, remove } = scratch();
afterAll(remove);
const env = { OPSWAP_STATE_DIR: path.join(dir, "state"), OPSWAP_RUNTIME_DIR: dir };
const run = (...args: string[]) => opswap(args, env);
const json = async (...args: string[]) => JSON.parse((await run(...args, "--json")).out);
const active = async (op: string): Promise<string> => (await json("why", op)).ranks[0].active;
const file = (name: string, text: string) => {
  writeFileSync(path.join(dir, name), text);
  return path.join(dir, name);
};
const FREEZE =
  "{kind: Freeze, schema: 1, name: launch, owner: ops, reason: launch week, until: '2999-01-01T00:00:00Z', ops: [linear]}";

/** Waits for what an engine does by itself. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await isSo()) return;
    await sleep(50);
  }
  throw new Error("it did not come to that");
}

describe("with one engine", () => {
  let engine: Server;
  beforeAll(async () => {
    engine = await fakeEngine(dir, "engine");
  });
  afterAll(() => engine.stop());

  it("has an override end by itself, and takes that into the audit once", async () => {
    expect((await run("use", "rms_norm", "ref", "--ttl", "1s", "--ticket", "T-1")).err).toBe("");
    expect((await run("status")).out).toMatch(/override: rms_norm=ref, back to cpu in [01] s \(T-1\)/);
    await until(async () => (await active("rms_norm")) === "cpu");
    const both = await Promise.all([run("audit", "collect"), run("audit", "collect")]);
    expect(both.map(({ out }) => out).sort()).toEqual([
      "0 new events of the engine\n",
      "1 new events of the engine\n",
    ]);
    await run("use", "rms_norm", "cpu");
    const records: { action: string }[] = await json("audit", "show");
    expect(records.filter(({ action }) => action === "override-ended")).toMatchObject([
      { from: { rms_norm: "ref" }, to: { rms_norm: "cpu" }, ticket: "T-1", event: { n: 1 } },
    ]);
    expect((await run("audit", "verify")).code).toBe(0);
  });

  it.each([["0.5s"], ["31d"], ["soon"]])("refuses --ttl %s", async (ttl) => {
    expect(await run("use", "rms_norm", "ref", "--ttl", ttl)).toMatchObject({ code: 2, out: "" });
  });

  it("refuses a switch when somebody has switched meanwhile", async () => {
    const { epoch } = await json("status", "--engine", "engine");
    expect((await run("use", "linear", "ref", "--if-epoch", String(epoch))).code).toBe(0);
    const late = await run("use", "linear", "cpu", "--if-epoch", String(epoch));
    expect(late).toMatchObject({ code: 1, err: expect.stringMatching(/OPSWAP_E_EPOCH/) });
    expect(await active("linear")).toBe("ref");
  });

  it("freezes ops for everybody but the owner", async () => {
    expect((await run("freeze", "list")).out).toBe("nothing is frozen\n");
    const launch = file("launch.yaml", FREEZE);
    expect((await run("freeze", "apply", launch)).out).toMatch(
      /^FROZEN until 2999-01-01T00:00:00\.000Z: linear, launch of ops: launch week$/m,
    );
    const refused = await run("use", "linear", "cpu");
    expect(refused).toMatchObject({ code: 1, err: expect.stringMatching(/frozen by ops.*OPSWAP_E_FROZEN/) });
    expect((await run("use", "linear", "cpu", "--owner", "ops")).code).toBe(0);
    expect((await run("reset", "linear")).err).toMatch(/OPSWAP_E_FROZEN/);
    expect((await run("freeze", "lift", "launch")).err).toMatch(/no owner was named/);
    expect(await run("freeze", "lift", "lanch", "--owner", "ops")).toMatchObject({
      code: 2,
      err: expect.stringMatching(/did you mean launch/),
    });
    expect((await run("freeze", "lift", "launch", "--owner", "ops")).out).toBe("nothing is frozen\n");
    const records: { action: string; why: string }[] = await json("audit", "show");
    const told = records.filter(({ action }) => action.endsWith("frozen"));
    expect(told.map(({ action, why }) => [action, why])).toEqual([
      ["frozen", "ops: launch: launch week"],
      ["unfrozen", "ops: launch"],
    ]);
    const wrong = file("wrong.yaml", FREEZE.replace("linear", "liner"));
    expect(await run("freeze", "apply", wrong)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/line 1: there is no op liner; did you mean linear/),
    });
  });

  it("switches back what a switch changed, unless something else runs by now", async () => {
    await run("use", "linear=ref", "silu_and_mul=ref");
    const back = await run("audit", "revert", "--reason", "slower");
    expect(back.out).toMatch(/^linear -> cpu, silu_and_mul -> cpu: epoch/);
    const records: { n: number; action: string; outcome: string }[] = await json("audit", "show");
    expect(records.at(-1)).toMatchObject({ outcome: "done", to: { linear: "cpu" }, why: "slower" });
    const wanted = records.at(-3);
    expect(records.at(-1)?.action).toBe(`revert ${wanted?.n}`);
    const other = await run("audit", "revert", String(wanted?.n));
    expect(other.code).toBe(1);
    expect(other.err).toMatch(/record \d+ switched \w+ to ref, but cpu runs now.*OPSWAP_E_EPOCH/);
    expect(await active("linear")).toBe("cpu");
    expect((await run("audit", "revert", "4711")).err).toMatch(/OPSWAP_E_NO_SWITCH/);
  });
});

describe("docs/switching.md", () => {
  it("has lines that work one after the other", async () => {
    const launch = FREEZE.replace("name: launch", "name: launch-week").replace(
      "owner: ops",
      "owner: serving-team",
    );
    file("launch.yaml", launch);
    const page = readFileSync(path.join(root, "docs/switching.md"), "utf8");
    const [, block = ""] = /^```\n([^`]*)^```/m.exec(page) ?? [];
    const lines = block.split("\n").flatMap((line) => /^npx opswap (.*?)\s*(?:#.*)?$/.exec(line)?.[1] ?? []);
    expect(lines.length).toBeGreaterThan(5);
    const engine = await fakeEngine(dir, "documented");
    try {
      for (const line of lines) {
        const words = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(
          ([, quoted, plain]) => quoted ?? plain ?? "",
        );
        const here = words.map((word) => (word.endsWith(".yaml") ? path.join(dir, word) : word));
        expect(await run(...here), line).toMatchObject({ code: 0, err: "" });
      }
    } finally {
      await engine.stop();
    }
  });
});

describe("panic", () => {
  let engines: Server[];
  beforeEach(async () => {
    engines = await Promise.all([fakeEngine(dir, "one"), fakeEngine(dir, "two", "--ranks", "1")]);
  });
  afterEach(() => Promise.all(engines.map((engine) => engine.stop())));

  it("asks which engine, takes one or all, and exits with 0 when all ranks confirmed", async () => {
    expect(await run("panic")).toMatchObject({ code: 2, err: expect.stringMatching(/one, two/) });
    const one = await run("panic", "--engine", "one", "--reason", "NaNs");
    expect(one).toMatchObject({ code: 0, err: "" });
    expect(one.out).toMatch(/^3 ops switched: epoch 1, from step \d+, confirmed by 2 ranks$/m);
    expect(one.out).toMatch(/^ {2}rms_norm +cpu +framework +the framework's own$/m);
    const all = await run("panic", "--all");
    expect(all).toMatchObject({ code: 0, err: "" });
    expect(all.out).toMatch(/^one: every rank runs this already/m);
    expect(all.out).toMatch(/^two: 3 ops switched/m);
    const records: { action: string; engine: string }[] = await json("audit", "show");
    const told = records.filter(({ action, engine }) => action === "panic" && engine === "one");
    expect(told).toMatchObject([
      { event: { n: 1 }, why: "NaNs" },
      { outcome: "asked", why: "NaNs" },
      { outcome: "done", from: { rms_norm: "cpu" }, to: { rms_norm: "framework" } },
      { event: { n: 2 } },
      { outcome: "asked" },
      { outcome: "done", to: {} },
    ]);
    expect((await run("audit", "revert", "--engine", "two")).out).toMatch(/rms_norm -> cpu/);
  });

  it("works where the audit cannot be written, and in a freeze", async () => {
    await run("reset", "--engine", "one");
    await run("freeze", "apply", file("all.yaml", FREEZE.replace("[linear]", "[]")), "--engine", "one");
    const blocked = file("blocked", "no folder");
    const ran = await opswap(["panic", "--engine", "one"], { ...env, OPSWAP_STATE_DIR: blocked });
    expect(ran).toMatchObject({ code: 0, out: expect.stringMatching(/3 ops switched/) });
    expect(ran.err).toMatch(/OPSWAP_E_AUDIT_STORE/);
    expect(readFileSync(blocked, "utf8")).toBe("no folder");
  });
});
