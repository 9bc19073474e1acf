import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fakeEngine, opswap, type Server, scratch } from "./harness.js";

const STACK = /\n\s+at |Traceback/;

describe("without anything to talk to", () => {
  const { dir, remove } = scratch();
  const env = { OPSWAP_RUNTIME_DIR: dir };
  afterAll(remove);

  it.each([
    ["ops"],
    ["why", "rms_norm"],
    ["use", "rms_norm", "ref"],
    ["status"],
    ["manifest"],
    ["call", "rms_norm"],
  ])("%s exits 3 and says what to do", async (...args) => {
    const ran = await opswap(args, env);
    expect(ran.code).toBe(3);
    expect(ran.out).toBe("");
    expect(ran.err).toMatch(/OPSWAP_E_NOT_RUNNING/);
    expect(ran.err).not.toMatch(STACK);
  });

  it("has doctor say that no engine runs, look at the parts that are there, and exit 1", async () => {
    const ran = await opswap(["doctor"], env);
    expect(ran).toMatchObject({ code: 1, err: "" });
    expect(ran.out).toMatch(
      /^fail +engine: no engine is running .*\[OPSWAP_E_NOT_RUNNING\]\n +start the engine/,
    );
    expect(ran.out).toMatch(/^ok +library: /m);
    expect(ran.out).toMatch(/^ok +python: /m);
    expect(ran.out).toMatch(/^NOT healthy$/m);
    const { healthy, checks } = JSON.parse((await opswap(["doctor", "--json"], env)).out);
    expect(healthy).toBe(false);
    expect(checks[0]).toMatchObject({ name: "engine", state: "fail" });
  });

  it("prints errors as JSON when asked to", async () => {
    const ran = await opswap(["ops", "--json"], env);
    expect(ran.code).toBe(3);
    expect(JSON.parse(ran.out).error.code).toBe("OPSWAP_E_NOT_RUNNING");
  });

  it("suggests the nearest verb and exits 2", async () => {
    const ran = await opswap(["statsu"], env);
    expect(ran.code).toBe(2);
    expect(ran.err).toMatch(/Did you mean status/);
  });

  it("exits 2 for a missing argument", async () => {
    expect((await opswap(["use", "rms_norm"], env)).code).toBe(2);
  });

  it("refuses a console without a terminal", async () => {
    const ran = await opswap(["console"], env);
    expect(ran.code).toBe(2);
    expect(ran.err).toMatch(/needs a terminal/);
  });
});

describe("help", () => {
  const verbs = [
    "ops",
    "why",
    "use",
    "reset",
    "register",
    "candidates",
    "build-key",
    "status",
    "doctor",
    "call",
    "shadow",
    "record",
    "replay",
    "quarantine",
    "manifest",
    "sidecar",
    "console",
    "tune",
    "evidence",
    "convert",
    "panic",
    "freeze",
    "bisect",
    "ab",
    "audit",
  ];

  it("lists every verb and the exit codes", async () => {
    const { out, code } = await opswap(["--help"]);
    expect(code).toBe(0);
    const listed = /^Commands:\n((?: {2}.*\n)+)/m.exec(out)?.[1] ?? "";
    expect([...listed.matchAll(/^ {2}([\w-]+) /gm)].map(([, verb]) => verb)).toEqual([...verbs, "help"]);
    expect(out).toMatch(/Exit codes:/);
  });

  it.each(verbs)("%s has examples", async (verb) => {
    const { out, code } = await opswap([verb, "--help"]);
    expect(code).toBe(0);
    expect(out).toContain(`$ opswap ${verb}`);
  });
});

describe("with one engine of two ranks", () => {
  const { dir, remove } = scratch();
  const env = { OPSWAP_RUNTIME_DIR: dir };
  let engine: Server;
  beforeAll(async () => {
    engine = await fakeEngine(dir, "first");
  });
  afterAll(async () => {
    await engine.stop();
    remove();
  });

  it("lists ops over all ranks and per rank", async () => {
    const all = await opswap(["ops"], env);
    expect(all.out.split("\n")[1]).toMatch(/^rms_norm +cpu +0 /);
    const ranks = JSON.parse((await opswap(["ops", "--json"], env)).out).ranks;
    expect(ranks.map((rank: { rank: number }) => rank.rank)).toEqual([0, 1]);
    expect((await opswap(["ops", "--ranks"], env)).out.match(/^rms_norm /gm)).toHaveLength(2);
  });

  it("says why an implementation cannot run", async () => {
    const { out } = await opswap(["why", "rms_norm"], env);
    expect(out).toMatch(/ranks 0, 1: cpu is active/);
    expect(out).toMatch(/sm90 +no +1 +no usable CUDA device/);
  });

  it("switches on every rank at one step and shows it afterwards", async () => {
    const used = await opswap(["use", "linear", "ref", "--json"], env);
    expect(used.code).toBe(0);
    const { acks, epoch, step } = JSON.parse(used.out);
    expect(acks).toHaveLength(2);
    for (const ack of acks)
      expect(ack).toMatchObject({ epoch, step, previous: { linear: "cpu" }, applied: "live" });
    expect((await opswap(["ops"], env)).out).toMatch(/^linear +ref /m);
    expect((await opswap(["status"], env)).out).toMatch(/linear=ref/);
  });

  it("switches several ops at one step, says what became of cached KV, and resets them", async () => {
    const used = await opswap(["use", "linear=framework", "silu_and_mul=ref", "--timeout", "5"], env);
    expect(used.err).toBe("");
    expect(used.out).toMatch(
      /^linear -> framework, silu_and_mul -> ref: epoch \d+, from step \d+ on 2 ranks$/m,
    );
    expect(used.out).toMatch(/^ {2}cached KV isolated: no request ran$/m);
    expect((await opswap(["status"], env)).out).toMatch(/on trial: .*silu_and_mul=ref/);
    const again = await opswap(["use", "silu_and_mul", "ref"], env);
    expect(again.out).toBe("silu_and_mul -> ref: every rank runs this already; nothing was switched\n");
    const reset = await opswap(["reset"], env);
    expect(reset.out).toMatch(/^linear -> cpu, silu_and_mul -> cpu: epoch/m);
    expect((await opswap(["reset", "linear"], env)).out).toBe("nothing was switched\n");
    expect((await opswap(["status"], env)).out).toMatch(/switched: nothing/);
  });

  it("keeps cached KV where the operator says why", async () => {
    const why = "bit-equal on my inputs";
    const used = await opswap(["use", "silu_and_mul", "ref", "--neutral", why], env);
    expect(used.out).toContain(`cached KV kept: ${why}`);
    expect((await opswap(["status"], env)).out).toContain(`last switch: cached KV kept: ${why}`);
  });

  it("refuses what cannot run, with the reason of each rank, and changes nothing", async () => {
    const refused = await opswap(["use", "rms_norm", "sm90"], env);
    expect(refused.code).toBe(1);
    expect(refused.err).toMatch(/sm90 cannot run here: no usable CUDA device .*\n {2}on ranks 0, 1$/m);
    expect((await opswap(["ops"], env)).out).toMatch(/^rms_norm +cpu /m);
  });

  it.each([
    [["use", "rms_nrom", "ref"], /did you mean rms_norm/],
    [["use", "rms_norm", "reff"], /did you mean ref/],
    [["why", "liner"], /did you mean linear/],
    [["ops", "--engine", "fist"], /running: first/],
  ])("%j names what is near", async (args, hint) => {
    const ran = await opswap(args, env);
    expect(ran.code).toBeGreaterThanOrEqual(2);
    expect(ran.err).toMatch(hint);
    expect(ran.err).not.toMatch(STACK);
  });

  it("is healthy", async () => {
    const { out, code } = await opswap(["doctor"], env);
    expect(code).toBe(0);
    expect(out).toMatch(/healthy$/m);
  });
});

describe("with two engines", () => {
  const { dir, remove } = scratch();
  const env = { OPSWAP_RUNTIME_DIR: dir };
  let engines: Server[];
  beforeAll(async () => {
    engines = await Promise.all([
      fakeEngine(dir, "one"),
      fakeEngine(dir, "two", "--ranks", "1", "--unhealthy"),
    ]);
  });
  afterAll(async () => {
    await Promise.all(engines.map((engine) => engine.stop()));
    remove();
  });

  it("asks which one is meant", async () => {
    const ran = await opswap(["use", "linear", "ref"], env);
    expect(ran.code).toBe(2);
    expect(ran.err).toMatch(/one, two/);
    expect(ran.err).toMatch(/--all-engines/);
  });

  it("switches both with --all-engines", async () => {
    const ran = await opswap(["use", "linear", "ref", "--all-engines"], env);
    expect(ran.code).toBe(0);
    expect(ran.out).toMatch(/^one: linear -> ref/m);
    expect(ran.out).toMatch(/^two: linear -> ref/m);
  });

  it("tells per engine when --all-engines fails", async () => {
    const ran = await opswap(["use", "linear", "sm90", "--all-engines", "--json"], env);
    expect(ran.code).toBe(1);
    const outcomes = JSON.parse(ran.out);
    expect(outcomes.map((outcome: { engine: string }) => outcome.engine)).toEqual(["one", "two"]);
    for (const outcome of outcomes) expect(outcome.error.code).toBe("OPSWAP_E_UNUSABLE");
  });

  it("has doctor exit 1 for the one that is not well", async () => {
    expect((await opswap(["doctor", "--engine", "one"], env)).code).toBe(0);
    const ran = await opswap(["doctor", "--engine", "two"], env);
    expect(ran.code).toBe(1);
    expect(ran.out).toMatch(/^fail +seams: planted by the test/m);
  });

  it("shows both in status", async () => {
    const { out } = await opswap(["status", "--json"], env);
    expect(JSON.parse(out).map((found: { name: string }) => found.name)).toEqual(["one", "two"]);
  });
});
