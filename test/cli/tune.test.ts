// `opswap tune` without a card: plans ranked by the model, said in each line, kept in the device's file.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { opswap, scratch } from "./harness.js";

describe("opswap tune", () => {
  const { dir, remove } = scratch();
  const env = { OPSWAP_STATE_DIR: dir };
  afterAll(remove);

  it("needs a device where there is no card", async () => {
    const ran = await opswap(["tune"], env);
    expect(ran.code).toBe(1);
    expect(ran.err).toMatch(/OPSWAP_E_CARD/);
    expect(ran.err).toMatch(/--device h100/);
    expect((await opswap(["tune", "--device", "b200"], env)).err).toMatch(/B200.*H20, H100, H200/s);
    expect(existsSync(join(dir, "tuned"))).toBe(false);
  });

  it("refuses an op whose kernels have one way to plan", async () => {
    const ran = await opswap(["tune", "rms_norm", "--device", "h100"], env);
    expect(ran.code).toBe(1);
    expect(ran.err).toMatch(/rms_norm has no kernels with several ways to plan a call.*OPSWAP_E_PLAN/);
  });

  it("says of each plan that it is modelled, and keeps it", async ({ skip }) => {
    const ran = await opswap(["tune", "linear", "--device", "h20"], env);
    skip(/as this library has no kernels/.test(ran.err), "the library was built with OPSWAP_CUDA=off");
    expect(ran).toMatchObject({ code: 0, err: "" });
    const lines = ran.out.trim().split("\n");
    const file = join(dir, "tuned/H20.json");
    expect(lines.pop()).toContain(file);
    expect(lines.length).toBeGreaterThan(10);
    for (const line of lines)
      expect(line).toMatch(/^linear \w+ M\d+ N\d+ K\d+: .* modelled for H20, best of/);
    const kept = JSON.parse(readFileSync(file, "utf8"));
    expect(kept).toMatchObject({ schema: 1, device: "H20", ops: [{ op: "linear" }] });
    expect(kept.ops[0].entries).toHaveLength(lines.length);
    expect(kept.ops[0].entries[0].source).toBe("modelled");
  });
});
