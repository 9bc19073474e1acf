import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
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

/** An engine whose switches end with these codes, in order; "" is a switch that is done, and so are all that follow. */
function guarded(...codes: string[]) {
  const used: string[] = [];
  const client = clientOf({
    name: "demo",
    status: async () => status(),
    use: async ([change]) => {
      used.push(change?.impl ?? "");
      const code = codes.shift();
      if (code) throw new OpswapError(code, "not now");
      return { epoch: 1, step: 1, changes: [], acks: [], isolation: null };
    },
  });
  const { spec } = parseSpec("spec.yaml", SPEC);
  if (spec.kind !== "Experiment") throw new Error("not an experiment");
  return { guard: new Guard({ out: () => {}, err: () => {} }, client, spec, 1), used };
}

describe("a guarded candidate", () => {
  it("serves, and is taken back once", async () => {
    const { guard, used } = guarded();
    await guard.letServe();
    await guard.takeBack("it is slow");
    await guard.takeBack("again");
    expect(used).toEqual(["cpu", "ref"]);
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
    expect(used).toEqual(["cpu", "ref"]);
  });

  it("is waited for while another switch is under way", async () => {
    const { guard, used } = guarded("", "OPSWAP_E_BUSY", "OPSWAP_E_TIMEOUT");
    await guard.letServe();
    await guard.takeBack("it is slow");
    expect(used).toEqual(["cpu", "ref", "ref", "ref"]);
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

  it("stays where it passed", async () => {
    const { guard, used } = guarded();
    await guard.letServe();
    guard.leave();
    await guard.takeBack("the experiment broke off");
    expect(used).toEqual(["cpu"]);
  });
});
