/** Experiments in the background, as an operator runs them: on a real agent whose ranks and shadows are played. */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { experimentFile, QUICK } from "./ab-specs.js";
import { fakeEngine, opswap, type Server, scratch } from "./harness.js";

const { dir, remove } = scratch();
const env = { OPSWAP_STATE_DIR: path.join(dir, "state"), OPSWAP_RUNTIME_DIR: dir };
const other = { ...env, OPSWAP_STATE_DIR: path.join(dir, "other") };
const run = (...args: string[]) => opswap(args, env);
const json = async (...args: string[]) => JSON.parse((await run(...args, "--json")).out);
const active = async (op: string) =>
  (await json("why", op)).ranks.map((rank: { active: string }) => rank.active);

let engine: Server;
beforeAll(async () => {
  engine = await fakeEngine(dir, "engine");
});
afterAll(async () => {
  await engine.stop();
  remove();
});

const experiments = path.join(env.OPSWAP_STATE_DIR, "experiments");

/** A margin that no traffic of a minute decides. */
const UNDECIDED = QUICK.replace(
  "60s",
  "60s, alpha: 0.0001, metrics: [{name: latency, non_inferior: 0.0001}]",
);

/** Applies an experiment under this name, and returns its file. */
async function applied(name: string, arms: string, more = QUICK): Promise<string> {
  const file = experimentFile(dir, name, `${arms}\nticket: T-1\n${more}`);
  expect(await run("ab", "apply", "-f", file)).toMatchObject({ code: 0, err: "" });
  return file;
}

const GOOD = "op: silu_and_mul\ncontrol: cpu\ncandidate: framework";
const SLOW = "op: rms_norm\ncontrol: cpu\ncandidate: ref";

async function until(what: () => Promise<boolean>): Promise<void> {
  for (let left = 600; !(await what()); left--) {
    expect(left, "it does not come").toBeGreaterThan(0);
    await sleep(50);
  }
}

const actions = async () =>
  (await json("audit", "show")).map(
    (one: { action: string; outcome: string }) => `${one.action} ${one.outcome}`,
  );

describe("opswap ab apply", () => {
  it("creates, leaves alone and updates, and says what differs", async () => {
    const file = await applied("changing", GOOD);
    expect((await run("ab", "apply", "-f", file)).out).toBe("Experiment changing: unchanged\n");
    writeFileSync(file, readFileSync(file, "utf8").replace("60s", "90s"));
    const again = await run("ab", "apply", "-f", file);
    expect(again.out).toBe("Experiment changing: updated\n  analysis.timeout: 60000 -> 90000\n");
    expect(statSync(path.join(experiments, "changing", "spec.yaml")).mode & 0o777).toBe(0o600);
    expect((await json("ab", "status", "changing")).phase).toBe("planned");
  });

  it("refuses what is wrong, with its line, and leaves a line in the audit", async () => {
    const file = path.join(dir, "wrong.yaml");
    writeFileSync(
      file,
      `kind: Experiment\nschema: 1\nname: wrong\n${GOOD}\nanalysis: {metrics: [{name: latencies}]}\n`,
    );
    const ran = await run("ab", "apply", "-f", file);
    expect(ran).toMatchObject({
      code: 2,
      err: expect.stringMatching(/line 7: .*no metric is named latencies.*did you mean latency/),
    });
    expect(existsSync(path.join(experiments, "wrong"))).toBe(false);
    expect((await actions()).at(-1)).toBe(`ab apply ${file} refused`);
  });

  it("names a file of the store that was changed by other hands", async () => {
    await applied("tampered", GOOD);
    const stored = path.join(experiments, "tampered", "spec.yaml");
    writeFileSync(stored, readFileSync(stored, "utf8").replace("framework", "ref"));
    const ran = await run("ab", "start", "tampered");
    expect(ran).toMatchObject({
      code: 1,
      err: expect.stringMatching(/tampered\/spec\.yaml is not as opswap wrote it.*EXPERIMENT_STORE/),
    });
    await applied("tampered", GOOD);
    expect((await json("ab", "status", "tampered")).phase).toBe("planned");
  });

  it("names what is near where an experiment is not there", async () => {
    const ran = await run("ab", "start", "changin");
    expect(ran).toMatchObject({
      code: 2,
      err: expect.stringMatching(/no experiment changin; did you mean changing\?.*NO_EXPERIMENT/),
    });
  });
});

describe("a run in the background", () => {
  afterEach(async () => {
    for (const name of ["good", "slow", "open"]) await run("ab", "stop", name);
  });

  it("passes, is promoted by its verdict alone, and is rolled back", async () => {
    await applied("good", GOOD);
    const early = await run("ab", "promote", "good");
    expect(early).toMatchObject({ code: 1, err: expect.stringMatching(/it has never run.*NOT_PASSED/) });
    const started = await run("ab", "start", "good");
    expect(started).toMatchObject({
      code: 0,
      err: "",
      out: expect.stringMatching(/finds at its end[\s\S]*assumed: no run/),
    });
    const watched = await run("ab", "watch", "good");
    expect(watched).toMatchObject({
      code: 0,
      out: expect.stringMatching(/samples: pass: .*\npassed: every gate passed/),
    });
    expect(await active("silu_and_mul")).toEqual(["cpu", "cpu"]);
    const status = await json("ab", "status", "good");
    expect(status).toMatchObject({ phase: "passed", not_sampled: ["T1 H1024 bfloat16"], drift: [] });
    const { verdict } = status.run;
    expect((await run("ab", "promote", "good", "--reason", "it is faster")).code).toBe(0);
    expect(await active("silu_and_mul")).toEqual(["framework", "framework"]);
    expect((await json("status"))[0].status.overrides).toEqual([]);
    const records = await json("audit", "show");
    expect(records.at(-1)).toMatchObject({
      action: "ab promote good",
      outcome: "done",
      verdict,
      ticket: "T-1",
      epoch: expect.any(Number),
    });
    expect((await json("ab", "status", "good")).phase).toBe("promoted");
    expect((await run("ab", "rollback", "good")).out).toMatch(/silu_and_mul -> cpu/);
    expect(await active("silu_and_mul")).toEqual(["cpu", "cpu"]);
  });

  it("plans the next run from the spread of the last, and says what drifted from it", async () => {
    const file = await applied("good", GOOD, `${QUICK}on_fail: pause\n`);
    expect((await json("ab", "status", "good")).drift).toEqual([
      expect.stringMatching(/^on_fail is "pause", run .* used "rollback"/),
    ]);
    expect((await run("ab", "promote", "good")).err).toMatch(/of another spec than is stored now/);
    expect((await run("ab", "run", file)).code).toBe(0);
    expect((await run("ab", "start", "good")).out).toMatch(/measured in run .* of good/);
  });

  it("is exported as JSON, as Markdown, and as traces of FlashInfer-Bench", async () => {
    const whole = JSON.parse((await run("ab", "export", "good")).out);
    expect(whole.verdict).toMatchObject({ result: "pass", spec: { sha256: whole.sha256 } });
    expect((await run("ab", "export", "good", "--format", "markdown")).out).toMatch(
      /^# good \(T-1\)[\s\S]*\*\*pass\*\*/,
    );
    const trace = JSON.parse((await run("ab", "export", "good", "--format", "fib-trace")).out);
    expect(trace).toMatchObject({
      definition: "silu_and_mul",
      workload: { axes: { T: 16, H: 1024 } },
      solution: "silu_and_mul:framework",
      evaluation: {
        status: "PASSED",
        performance: { latency_ms: expect.any(Number) },
        correctness: { max_absolute_error: 0 },
      },
    });
  });

  it("takes a slow candidate that serves back, and never promotes it", async () => {
    await applied("slow", SLOW);
    expect((await run("ab", "start", "slow", "--guarded")).out).toMatch(/guarded/);
    const watched = await run("ab", "watch", "slow");
    expect(watched).toMatchObject({
      code: 1,
      out: expect.stringMatching(/failed: .*latency: slower by at least/),
    });
    expect(await active("rms_norm")).toEqual(["cpu", "cpu"]);
    expect((await run("ab", "promote", "slow")).err).toMatch(/is fail: .*NOT_PASSED/);
    const told = ["use asked", "use done", "ab start slow done", "use asked", "use done"];
    expect((await actions()).slice(-7)).toEqual([
      ...told,
      "ab verdict slow: fail done",
      "ab promote slow refused",
    ]);
  });

  it("ends undecided with an exit code of its own, and promotes nothing", async () => {
    const file = await applied("open", GOOD, UNDECIDED.replace("60s", "1s"));
    expect((await run("ab", "run", file)).code).toBe(4);
    expect((await json("ab", "status", "open")).phase).toBe("inconclusive");
    expect((await run("ab", "promote", "open")).err).toMatch(/is inconclusive: .*NOT_PASSED/);
  });
});

describe("an experiment that goes on", () => {
  const OPEN = SLOW.replace("ref", "framework");
  const pid = async () => {
    const [id = ""] = readdirSync(path.join(experiments, "lasting", "runs"))
      .sort()
      .slice(-1);
    return JSON.parse(readFileSync(path.join(experiments, "lasting", "runs", id, "run.json"), "utf8"))
      .controller.pid;
  };
  afterEach(() => run("ab", "stop", "lasting"));

  it("excludes another one of the same op, its own second run, and one of another user", async () => {
    await applied("lasting", OPEN, UNDECIDED);
    await applied("slow", SLOW);
    expect((await run("ab", "start", "lasting")).code).toBe(0);
    expect((await run("ab", "start", "lasting")).err).toMatch(/lasting runs on engine since .*OPSWAP_E_RUNS/);
    expect((await run("ab", "start", "slow")).err).toMatch(/both touch rms_norm.*EXCLUDED/);
    const elsewhere = await opswap(["ab", "run", path.join(dir, "slow.yaml")], other);
    expect(elsewhere).toMatchObject({
      code: 1,
      err: expect.stringMatching(/a shadow of rms_norm runs on engine.*EXCLUDED/),
    });
  });

  it("keeps its spec when another is applied, and is ended by stop", async () => {
    await applied("lasting", OPEN, UNDECIDED);
    await run("ab", "start", "lasting");
    const file = path.join(dir, "lasting.yaml");
    writeFileSync(file, readFileSync(file, "utf8").replace("60s", "90s"));
    expect((await run("ab", "apply", "-f", file)).out).toMatch(/updated; run .* goes on with the one before/);
    const status = await json("ab", "status", "lasting");
    expect(status).toMatchObject({
      phase: "shadow",
      drift: [expect.stringMatching(/^analysis.timeout is 90000, run .* uses 60000/)],
    });
    expect((await run("ab", "stop", "lasting")).out).toMatch(/stopped: it was stopped; inconclusive/);
    expect((await json("shadow", "status", "rms_norm")).ranks[0].running).toBe(false);
  });

  it("goes back by its lease where its controller is killed, is told as lost, and starts anew", async () => {
    await applied("lasting", OPEN, UNDECIDED);
    await run("ab", "start", "lasting", "--guarded");
    expect(await active("rms_norm")).toEqual(["framework", "framework"]);
    await sleep(2500);
    expect(await active("rms_norm")).toEqual(["framework", "framework"]);
    process.kill(await pid(), "SIGKILL");
    await until(async () => (await active("rms_norm")).every((impl: string) => impl === "cpu"));
    const status = await json("ab", "status", "lasting");
    expect(status).toMatchObject({
      phase: "lost",
      reason: expect.stringMatching(/its controller, process \d+, is gone/),
    });
    expect((await run("ab", "watch", "lasting")).code).toBe(1);
    await run("ab", "stop", "lasting");
    expect((await run("ab", "start", "lasting")).code).toBe(0);
  });

  it("is stopped where somebody else switches the op that it guards, whose choice stays", async () => {
    await applied("lasting", OPEN, UNDECIDED);
    await run("ab", "start", "lasting", "--guarded");
    expect((await run("use", "rms_norm", "ref")).code).toBe(0);
    await until(async () => (await json("ab", "status", "lasting")).phase === "stopped");
    expect((await json("ab", "status", "lasting")).reason).toMatch(
      /serves no longer, by somebody else's choice/,
    );
    expect(await active("rms_norm")).toEqual(["ref", "ref"]);
    expect((await run("ab", "start", "lasting", "--guarded")).err).toMatch(
      /ref serves rms_norm, not control.*EXCLUDED/,
    );
    await run("use", "rms_norm", "cpu");
  });
});
