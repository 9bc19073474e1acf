/** What an operator's mistake, or somebody else's hand, comes to: a refusal with a code, nothing changed, a line in the audit. Of second builds: test_torch_builds.py. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { pythonEnvironment } from "../../ts-client/src/python-environment.js";
import { experimentFile, GOOD, OPEN, QUICK, refusedIn } from "./ab-specs.js";
import { cli, fakeEngine, opswap, root, type Server, scratch } from "./harness.js";

const { dir, remove } = scratch();
const state = path.join(dir, "state");
const expectRefused = refusedIn(state);
const env = { OPSWAP_STATE_DIR: state, OPSWAP_RUNTIME_DIR: dir };
/** Where no engine runs. */
const alone = { ...env, OPSWAP_RUNTIME_DIR: path.join(dir, "none") };
const file = (name: string) => path.join(dir, name);
const run = (...args: string[]) => opswap(args, env);
const json = async (...args: string[]) => JSON.parse((await run(...args, "--json")).out);
const active = async (op: string) => (await json("why", op)).ranks[0].active;
let engine: Server;
beforeAll(async () => {
  for (const name of ["none", "shop", "recordings"]) mkdirSync(file(name), { mode: 0o700 });
  const configuration = { folders: [file("shop")], trusted_keys: {} };
  writeFileSync(file("candidates.json"), JSON.stringify(configuration), { mode: 0o600 });
  const { python, env: host } = pythonEnvironment();
  execFileSync(python, [path.join(root, "test/cli/record.py"), file("recordings"), "wrong"], { env: host });
  process.env.OPSWAP_CANDIDATES = file("candidates.json");
  process.env.OPSWAP_RECORDINGS = file("recordings");
  engine = await fakeEngine(dir, "engine", "--restart", "ref");
});
afterAll(async () => {
  await engine.stop();
  delete process.env.OPSWAP_CANDIDATES;
  delete process.env.OPSWAP_RECORDINGS;
  remove();
});
beforeEach(() => rmSync(state, { recursive: true, force: true }));

const spec = (more: string, name = "one") => experimentFile(dir, name, more);

describe("an experiment that names what is not there", () => {
  it.each([
    [
      "an op",
      GOOD.replace("silu_and_mul", "silu_and_mull"),
      /line 4: there is no op silu_and_mull.*silu_and_mul\?/,
    ],
    [
      "an implementation",
      GOOD.replace("framework", "framewrk"),
      /line 6: .*framewrk; did you mean framework/,
    ],
    ["a bucket's size", `${GOOD}buckets: ["X16 bfloat16"]\n`, /line 7: bucket X16 bfloat16: .*has no size X/],
    [
      "a bucket's type",
      `${GOOD}buckets: ["T16 bfloat1"]\n`,
      /line 7: .*takes no dtype bfloat1; did you mean bfloat16/,
    ],
    ["a field", `${GOOD}analyses: {}\n`, /line 7: there is no field analyses; did you mean analysis/],
    ["a metric", `${GOOD}analysis: {metrics: [{name: speed}]}\n`, /line 7: .*no metric is named speed/],
  ])("%s is refused with its line", async (what, more, said) => {
    // Shapes are of the library here: stand-ins for ranks know none.
    const known = what.startsWith("a bucket") ? more.replace("framework", "ref") : more;
    const where = what.startsWith("a bucket") ? alone : env;
    const ran = await opswap(["ab", "apply", "-f", spec(known)], where);
    expect(ran.err).toMatch(said);
    expectRefused(ran, /^ab apply /, "OPSWAP_E_EXPERIMENT");
    expect((await run("ab", "status", "--json")).out.trim()).toBe("[]");
  });

  it("an implementation that takes a restart is refused, and so is a device in place of a file", async () => {
    const ran = await run("ab", "run", spec(GOOD.replace("framework", "ref")));
    expect(ran.err).toMatch(/line 6: silu_and_mul ref is switched by restart/);
    expectRefused(ran, /^ab run /, "OPSWAP_E_EXPERIMENT");
    expect((await run("ab", "apply", "-f", "/dev/zero")).err).toMatch(
      /\/dev\/zero, line 1: it is over 65536 bytes/,
    );
  });

  it("an engine, and an experiment, with every verb", async () => {
    expect((await run("ab", "apply", "-f", spec(GOOD))).code).toBe(0);
    const elsewhere = await run("ab", "start", "one", "--engine", "engin");
    expect(elsewhere.code).toBe(3);
    expectRefused(elsewhere, /^ab start one/, "OPSWAP_E_NOT_RUNNING");
    for (const verb of ["start", "stop", "promote", "rollback"]) {
      const ran = await run("ab", verb, "ome");
      expect(ran).toMatchObject({ code: 2, err: expect.stringMatching(/did you mean one\?/) });
      expectRefused(ran, new RegExp(`^ab ${verb} ome$`), "OPSWAP_E_NO_EXPERIMENT");
    }
    expectRefused(await run("freeze", "lift", "launch"), /^freeze lift launch$/, "OPSWAP_E_NO_FREEZE");
    expectRefused(await run("audit", "revert"), /^audit revert$/, "OPSWAP_E_NO_SWITCH");
  });

  it("with the verbs that only look", async () => {
    const wrong = spec(GOOD.replace("framework", "framewrk"), "wrong");
    for (const words of [
      ["validate", wrong],
      ["plan", wrong],
    ])
      expectRefused(
        await run("ab", ...words, "--engine", "engine"),
        new RegExp(`^ab ${words[0]} `),
        "OPSWAP_E_EXPERIMENT",
      );
    const none = file("none.jsonl");
    expectRefused(await run("ab", "judge", spec(GOOD), "--samples", none), /^ab judge /, "OPSWAP_E_IO");
    expectRefused(await run("ab", "derive", "0123456789abcdef"), /^ab derive 0123/, "OPSWAP_E_VERDICT");
  });

  it("words that are longer than a record takes leave the audit whole", async () => {
    const long = "x".repeat(6000);
    expectRefused(await run("ab", "start", long), /^ab start x{4000}/, "OPSWAP_E_NO_EXPERIMENT");
    expect((await run("use", "rms_norm", long)).code).toBe(1);
    expect((await run("audit", "verify")).code).toBe(0);
  });

  it("a freeze in the place of an experiment is refused: its runs would be out of reach", async () => {
    await run("ab", "apply", "-f", spec(GOOD));
    const freeze = file("freeze.yaml");
    writeFileSync(
      freeze,
      "kind: Freeze\nschema: 1\nname: one\nowner: me\nreason: r\nuntil: '2999-01-01T00:00:00Z'\n",
    );
    const ran = await run("ab", "apply", "-f", freeze);
    expect(ran.err).toMatch(/line 3: one is the name of a stored Experiment/);
    expectRefused(ran, /^ab apply /, "OPSWAP_E_EXPERIMENT");
    expect(await json("freeze", "list")).toEqual([]);
  });
});

describe("a candidate that an engine does not take", () => {
  const candidates = async () =>
    (await json("candidates")).candidates.map((one: { impl: string }) => one.impl);
  const python = (place: string, text: string) => {
    writeFileSync(place, text, { mode: 0o600 });
    return ["register", place, "--op", "rms_norm", "--as", "mine"];
  };
  it.each([
    [
      "outside",
      "outside.py",
      "def rms_norm(out, x):\n    pass\n",
      "OPSWAP_E_CANDIDATE",
      /folders|allow|lists/,
    ],
    [
      "signature",
      "shop/other.py",
      "def rms_norm(out, y):\n    pass\n",
      "OPSWAP_E_CANDIDATE",
      /argument.*\by\b|\bx\b/,
    ],
  ])("a Python file: %s", async (_what, name, text, code, said) => {
    const before = await candidates();
    const ran = await run(...python(file(name), text));
    expect(ran.err).toMatch(said);
    expectRefused(ran, /^register /, code);
    expect(await candidates()).toEqual(before);
  });

  it("a recording of another version of the op", async () => {
    const ran = await run("quarantine", "rms_norm", "cpu", "--control", "cpu");
    expect(ran.err).toMatch(/version/);
    expectRefused(ran, /^quarantine rms_norm cpu/, "OPSWAP_E_TENSOR_FILE");
  });
});
/** A run that has passed, on the engine. */
async function passed(more = QUICK): Promise<string> {
  await run("ab", "apply", "-f", spec(GOOD + more));
  expect((await run("ab", "run", spec(GOOD + more))).code).toBe(0);
  return (await json("ab", "status", "one")).run.verdict;
}

describe("what was stored, and is another now", () => {
  const runs = () => path.join(state, "experiments/one/runs");

  it("a verdict in another one's folder promotes nothing", async () => {
    const verdict = await passed();
    const place = path.join(state, "verdicts", verdict);
    const lines = readFileSync(path.join(place, "samples.jsonl"), "utf8").split("\n");
    writeFileSync(file("more.jsonl"), `${lines.slice(0, -2).join("\n")}\n`);
    const judged = await run("ab", "judge", spec(GOOD + QUICK), "--samples", file("more.jsonl"), "--json");
    rmSync(place, { recursive: true });
    cpSync(JSON.parse(judged.out).place, place, { recursive: true });
    const ran = await run("ab", "promote", "one");
    expect(ran.err).toMatch(/does not follow from what is stored/);
    expectRefused(ran, /^ab promote one$/, "OPSWAP_E_NOT_PASSED");
    rmSync(place, { recursive: true });
    expectRefused(await run("ab", "promote", "one"), /^ab promote one$/, "OPSWAP_E_VERDICT");
    expect(await active("silu_and_mul")).toBe("cpu");
  });

  it("a clock that was set back makes no older run the newest", async () => {
    await passed();
    const [first = ""] = readdirSync(runs());
    const its = path.join(runs(), first, "run.json");
    const later = readFileSync(its, "utf8").replace(/"started": "\d+/, '"started": "2999');
    writeFileSync(its, later);
    const open = spec(GOOD + OPEN.replace("50s", "100ms").replace("60s", "1s"));
    expect((await run("ab", "run", open)).code).toBe(4);
    expect((await run("ab", "promote", "one")).err).toMatch(/is inconclusive/);
    expect(await active("silu_and_mul")).toBe("cpu");
  });

  it("one whose controller never began is lost, also where it is of a time to come", async () => {
    await passed();
    const [first = ""] = readdirSync(runs());
    const its = path.join(runs(), first, "run.json");
    const begun = { ...JSON.parse(readFileSync(its, "utf8")), phase: "starting", controller: null };
    writeFileSync(its, JSON.stringify({ ...begun, started: "2999-01-01T00:00:00.000Z" }));
    expect((await json("ab", "status", "one")).phase).toBe("lost");
    expect((await run("ab", "stop", "one")).out).toMatch(/stopped/);
  });

  it("rollback is of what the run tried, whatever was applied since", async () => {
    await passed();
    expect((await run("ab", "promote", "one")).code).toBe(0);
    expect(await active("silu_and_mul")).toBe("framework");
    expect((await run("ab", "apply", "-f", spec(GOOD.replace("silu_and_mul", "rms_norm")))).code).toBe(0);
    expect((await run("ab", "rollback", "one")).out).toMatch(/silu_and_mul -> cpu/);
    expect(await active("silu_and_mul")).toBe("cpu");
  });

  it("an audit that was changed reverts nothing, and says in which line", async () => {
    await run("use", "silu_and_mul", "framework");
    await run("use", "silu_and_mul", "framework", "--reason", "again");
    const audit = path.join(state, "audit.jsonl");
    writeFileSync(audit, readFileSync(audit, "utf8").replace("again", "after"));
    const ran = await run("audit", "revert");
    expect(ran).toMatchObject({
      code: 1,
      err: expect.stringMatching(/audit\.jsonl, line 4: .*OPSWAP_E_AUDIT\]/),
    });
    expect(await active("silu_and_mul")).toBe("framework");
    await run("use", "silu_and_mul", "cpu");
  });

  it("a store that takes no more ends a guarded run, whose candidate is taken back at once", async () => {
    await run("ab", "apply", "-f", spec(GOOD + OPEN));
    expect((await run("ab", "start", "one", "--guarded")).code).toBe(0);
    expect(await active("silu_and_mul")).toBe("framework");
    const [id = ""] = readdirSync(runs());
    rmSync(path.join(runs(), id), { recursive: true });
    writeFileSync(path.join(runs(), id), "no folder");
    await expect.poll(() => active("silu_and_mul"), { timeout: 60_000 }).toBe("cpu");
    const shadows = async () => (await json("shadow", "status", "silu_and_mul")).ranks[0].running;
    await expect.poll(shadows, { timeout: 60_000 }).toBe(false);
  });

  it("starts anew at once where the controller was killed, whose shadow is left", async () => {
    await run("ab", "apply", "-f", spec(GOOD + OPEN));
    expect((await run("ab", "start", "one")).code).toBe(0);
    const [id = ""] = readdirSync(runs());
    const { controller } = JSON.parse(readFileSync(path.join(runs(), id, "run.json"), "utf8"));
    process.kill(controller.pid, "SIGKILL");
    expect(await run("ab", "start", "one")).toMatchObject({ code: 0, err: "" });
    expect((await run("ab", "stop", "one")).code).toBe(0);
  });

  it("takes the candidate of a run in the foreground back where its reader goes away", async () => {
    const words = ["ab", "run", spec(GOOD + OPEN.replace("3s", "20s").replace("50s", "100ms")), "--guarded"];
    const child = spawn(process.execPath, [cli, ...words], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "ignore", "pipe"],
    });
    const ended = once(child, "exit");
    await once(child.stderr, "data");
    child.stderr.destroy();
    await ended;
    expect((await json("ab", "status", "one")).phase).toBe("stopped");
    expect(await active("silu_and_mul")).toBe("cpu");
  });
});
