/** The verbs of experiments and of the audit, as a user runs them. */
import { chmodSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SPEC_TEXT, samples, writeSamples } from "../experiments/samples.js";
import { fakeEngine, opswap, type Server, scratch } from "./harness.js";

const { dir, remove } = scratch();
afterAll(remove);
const env = { OPSWAP_STATE_DIR: path.join(dir, "state"), OPSWAP_RUNTIME_DIR: dir };
const run = (...args: string[]) => opswap(args, env);
const file = (name: string) => path.join(dir, name);

writeFileSync(file("e.yaml"), SPEC_TEXT);
writeFileSync(file("other.yaml"), SPEC_TEXT.replace("test", "other"));
writeFileSync(file("wrong.yaml"), SPEC_TEXT.replace("rms_norm", "rms_nrom"));
writeFileSync(
  file("freeze.yaml"),
  "{kind: Freeze, schema: 1, name: launch, owner: ops, reason: launch week, until: '2999-01-01T00:00:00Z'}",
);
writeSamples(file("good.jsonl"), samples(1500));
writeSamples(file("slow.jsonl"), samples(1500, { slower: 0.05 }));

describe("opswap ab", () => {
  it("validates files against the library in this process", async () => {
    const ran = await run("ab", "validate", file("e.yaml"));
    expect(ran).toMatchObject({ code: 0, err: "", out: `${file("e.yaml")}: Experiment test is valid\n` });
  });

  it.each([
    ["a name that is not there", ["wrong.yaml"], 2, /line 4: there is no op rms_nrom; did you mean rms_norm/],
    ["two experiments on one op", ["e.yaml", "other.yaml"], 1, /both touch rms_norm.*OPSWAP_E_EXCLUDED/],
    ["an experiment in a freeze", ["e.yaml", "freeze.yaml"], 1, /frozen by ops until 2999.*launch week/],
    ["a file that is not there", ["none.yaml"], 1, /none\.yaml: ENOENT/],
  ])("refuses %s", async (_what, files, code, message) => {
    const ran = await run("ab", "validate", ...files.map(file));
    expect(ran).toMatchObject({ code, out: "", err: expect.stringMatching(message) });
    expect(ran.err).not.toMatch(/\n\s+at /);
  });

  it("plans from an assumed spread, and from a measured one", async () => {
    const assumed = await run("ab", "plan", file("e.yaml"), "--spread", "5%");
    expect(assumed).toMatchObject({
      code: 0,
      err: "",
      out: expect.stringMatching(/finds at its end[\s\S]*assumed/),
    });
    const measured = JSON.parse(
      (await run("ab", "plan", file("e.yaml"), "--samples", file("good.jsonl"), "--json")).out,
    );
    expect(measured.buckets).toMatchObject([{ bucket: "T16 H1024 bfloat16", isMeasured: true, place: 1 }]);
    // The spread of a block of two samples, each of 2%.
    expect(measured.buckets[0].spread).toBeGreaterThan(0.012);
    expect(measured.buckets[0].spread).toBeLessThan(0.03);
    expect((await run("ab", "plan", file("e.yaml"), "--spread", "much")).code).toBe(2);
  });

  it("judges, stores, and derives again what it stored", async () => {
    const good = await run("ab", "judge", file("e.yaml"), "--samples", file("good.jsonl"));
    expect(good).toMatchObject({
      code: 0,
      err: "",
      out: expect.stringMatching(/^verdict [0-9a-f]{16}: pass/),
    });
    const slow = await run("ab", "judge", file("e.yaml"), "--samples", file("slow.jsonl"), "--json");
    const { id, result, place } = JSON.parse(slow.out);
    expect([slow.code, result]).toEqual([1, "fail"]);
    expect(await run("ab", "derive", id)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/to the bit/),
    });
    const stored = path.join(place, "verdict.json");
    writeFileSync(stored, readFileSync(stored, "utf8").replace('"result": "fail"', '"result": "pass"'));
    const changed = await run("ab", "derive", stored);
    expect(changed).toMatchObject({
      code: 1,
      out: expect.stringMatching(/result: stored "pass", derived "fail"/),
    });
  });
});

describe("opswap use", () => {
  let engine: Server;
  beforeAll(async () => {
    engine = await fakeEngine(dir, "engine");
  });
  afterAll(() => engine.stop());
  // An audit of its own: refusals of other verbs are records too.
  const own = { ...env, OPSWAP_STATE_DIR: file("used") };
  const run = (...args: string[]) => opswap(args, own);
  const audit = path.join(own.OPSWAP_STATE_DIR, "audit.jsonl");

  it("is in the audit: who, why, from what, and a refusal with its code", async () => {
    expect((await run("use", "rms_norm", "ref", "--reason", "NaNs", "--ticket", "T-1")).code).toBe(0);
    expect((await run("use", "rms_norm", "nothing")).code).not.toBe(0);
    const records = JSON.parse((await run("audit", "show", "--json")).out);
    expect(records).toMatchObject([
      { n: 1, action: "use", outcome: "asked", why: "NaNs", ticket: "T-1", to: { rms_norm: "ref" } },
      {
        n: 2,
        outcome: "done",
        asked: 1,
        from: { rms_norm: expect.any(String) },
        build: expect.any(String),
        epoch: 1,
      },
      { n: 3, outcome: "asked", to: { rms_norm: "nothing" } },
      { n: 4, outcome: "refused", asked: 3, error: { code: expect.stringMatching(/^OPSWAP_E_/) } },
    ]);
    const shown = await run("audit", "show", "--last", "2");
    expect(shown.out.trimEnd().split("\n")).toHaveLength(3);
    expect(await run("audit", "verify")).toMatchObject({
      code: 0,
      out: expect.stringMatching(/4 records, none changed/),
    });
  });

  it("goes on where the audit cannot be written, and says so", async () => {
    const locked = file("locked");
    writeFileSync(locked, "no folder");
    const ran = await opswap(["use", "rms_norm", "cpu"], { ...env, OPSWAP_STATE_DIR: locked });
    expect(ran).toMatchObject({ code: 0, out: expect.stringMatching(/rms_norm -> cpu/) });
    expect(ran.err).toMatch(/OPSWAP_E_AUDIT_STORE[\s\S]*not whole in the audit/);
  });

  it("finds a change and a cut, and takes no record more", async () => {
    const head = file("head.json");
    writeFileSync(head, (await run("audit", "show", "--head")).out);
    expect((await run("audit", "verify", "--head", head)).code).toBe(0);
    const text = readFileSync(audit, "utf8");
    writeFileSync(audit, text.replace("NaNs", "NaN!"));
    const changed = await run("audit", "verify");
    expect(changed).toMatchObject({
      code: 1,
      err: expect.stringMatching(/audit\.jsonl, line [12]: .*OPSWAP_E_AUDIT\]/),
    });
    writeFileSync(audit, text);
    truncateSync(audit, text.indexOf("\n") + 1);
    expect((await run("audit", "verify")).err).toMatch(/line 2: 3 records are missing/);
    expect((await run("use", "rms_norm", "cpu")).err).toMatch(
      /was cut or changed[\s\S]*not whole in the audit/,
    );
    writeFileSync(audit, text);
    expect((await run("audit", "verify", "--head", file("e.yaml"))).code).toBe(2);
  });

  it("has an audit without records where nothing was ever switched", async () => {
    const fresh = file("fresh");
    mkdirSync(fresh);
    chmodSync(fresh, 0o555);
    const ran = await opswap(["audit", "show"], { ...env, OPSWAP_STATE_DIR: fresh });
    expect(ran).toMatchObject({ code: 0, out: "the audit has no records\n" });
  });
});
