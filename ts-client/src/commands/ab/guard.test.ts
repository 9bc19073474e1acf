import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { UseOptions } from "../../client/types.js";
import { parseSpec } from "../../experiments/index.js";
import { clientOf, status } from "../../testing/console-fixtures.js";
import { OpswapError } from "../../types/errors.js";
import { Guard } from "./guard.js";

const folder = mkdtempSync(path.join(tmpdir(), "opswap-guard-"));
beforeEach(() => {
  vi.stubEnv("OPSWAP_STATE_DIR", folder);
});
afterEach(() => {
  vi.unstubAllEnvs();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const SPEC = "{kind: Experiment, schema: 1, name: test, op: rms_norm, control: ref, candidate: cpu}";

/** The overrides of the engine. */
let left: object[] = [];

/** An engine whose switches end with these codes, in order; "" is a switch that is done, and so are all that follow. */
function guarded(...codes: string[]) {
  const [used, asked]: [string[], (UseOptions | undefined)[]] = [[], []];
  const done = (what: string) => {
    used.push(what);
    const code = codes.shift();
    if (code) throw new OpswapError(code, "not now");
    return { epoch: 1, step: 1, changes: [], acks: [], isolation: null };
  };
  const client = clientOf({
    name: "demo",
    status: async () => ({ ...status(), overrides: left as never }),
    use: async ([change], options) => {
      asked.push(options);
      return done(change?.impl ?? "");
    },
    ask: async (verb: string, { op, impl }: Record<string, unknown>) => {
      if (verb === "events") return { journal: "", last: 0, events: [] } as never;
      expect([verb, op, impl]).toEqual(["end_override", "rms_norm", "cpu"]);
      return done("back") as never;
    },
  });
  const { spec } = parseSpec("spec.yaml", SPEC);
  if (spec.kind !== "Experiment") throw new Error("not an experiment");
  return { guard: new Guard({ out: () => {}, err: () => {} }, client, spec, 1), used, asked };
}

describe("a guarded candidate", () => {
  it("serves, and is taken back once", async () => {
    const { guard, used } = guarded();
    await guard.letServe();
    await guard.takeBack("it is slow");
    await guard.takeBack("again");
    expect(used).toEqual(["cpu", "back"]);
  });

  it("is not taken back where it never served: another's choice would be lost", async () => {
    const { guard, used } = guarded("OPSWAP_E_REFUSED");
    await expect(guard.letServe()).rejects.toMatchObject({ code: "OPSWAP_E_REFUSED" });
    await guard.takeBack("the experiment broke off");
    expect(used).toEqual(["cpu"]);
  });

  it("is taken back where nobody knows whether it serves", async () => {
    const { guard, used } = guarded("OPSWAP_E_TIMEOUT");
    await expect(guard.letServe()).rejects.toMatchObject({ code: "OPSWAP_E_TIMEOUT" });
    await guard.takeBack("the experiment broke off");
    expect(used).toEqual(["cpu", "back"]);
  });

  it("is waited for while another switch is under way", async () => {
    const { guard, used } = guarded("", "OPSWAP_E_BUSY", "OPSWAP_E_TIMEOUT");
    await guard.letServe();
    await guard.takeBack("it is slow");
    expect(used).toEqual(["cpu", "back", "back", "back"]);
  });

  it("is told of where it cannot be taken back", async () => {
    const { guard } = guarded("", ...Array.from({ length: 9 }, () => "OPSWAP_E_BUSY"));
    await guard.letServe();
    await expect(guard.takeBack("it is slow")).rejects.toMatchObject({
      code: "OPSWAP_E_BUSY",
      message: expect.stringMatching(/^cpu may still serve rms_norm/),
      remedy: expect.stringMatching(/opswap use rms_norm ref/),
    });
  });

  it("stays where it passed, under a last lease in which a person decides", async () => {
    const { guard, used, asked } = guarded();
    await guard.letServe();
    await guard.leave("it passed");
    await guard.takeBack("the experiment broke off");
    expect(used).toEqual(["cpu", "cpu"]);
    expect(asked).toMatchObject([{ ttlMs: 30_000 }, { ttlMs: 86_400_000, renew: true }]);
  });

  it("is renewed through what passes by, and given up when its lease is gone", async () => {
    const { guard, used, asked } = guarded("", "OPSWAP_E_BUSY", "OPSWAP_E_TIMEOUT", "", "OPSWAP_E_LEASE");
    await guard.letServe();
    for (let i = 0; i < 3; i++) expect(await guard.renew()).toBeUndefined();
    expect(asked.slice(1)).toMatchObject(Array(3).fill({ ttlMs: 30_000, renew: true }));
    expect(await guard.renew()).toMatch(/serves no longer/);
    await guard.takeBack("it is slow");
    expect(used).toEqual(Array(5).fill("cpu"));
  });

  it("stays where somebody else chose meanwhile", async () => {
    const { guard, used } = guarded("", "OPSWAP_E_LEASE");
    await guard.letServe();
    await guard.takeBack("it is slow");
    await guard.takeBack("again");
    expect(used).toEqual(["cpu", "back"]);
  });

  it.each([
    ["its own", "experiment test: it is tried", ["back"]],
    ["another's", "experiment other: it is tried", []],
  ])("is taken back where an earlier guard left it, and the lease is %s", async (_what, reason, expected) => {
    const { guard, used } = guarded();
    left = [{ op: "rms_norm", impl: "cpu", reason }];
    await guard.takeBackLeft("the experiment was stopped");
    expect(used).toEqual(expected);
  });
});
