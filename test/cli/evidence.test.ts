// `opswap evidence`: each verb reaches the Python module, and its answers and exit codes come back.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { opswap, scratch } from "./harness.js";

describe("opswap evidence", () => {
  const { dir, remove } = scratch();
  const env = { OPSWAP_EVIDENCE_DIR: dir };
  afterAll(remove);

  it("shows an empty folder, and each refused file with its code", async () => {
    const empty = await opswap(["evidence", "show", "--json"], env);
    expect(empty.code).toBe(0);
    expect(JSON.parse(empty.out)).toMatchObject({ folder: dir, files: [] });
    mkdirSync(join(dir, "H100"));
    writeFileSync(join(dir, "H100/rms_norm.json"), "{}");
    const spoilt = await opswap(["evidence", "show"], env);
    expect(spoilt.code).toBe(1);
    expect(spoilt.out).toMatch(/OPSWAP_E_EVIDENCE: H100\/rms_norm.json is refused|no kernels of that name/);
  });

  it("exports nothing where nothing counts", async () => {
    const ran = await opswap(["evidence", "export", join(dir, "out"), "--op", "copy"], env);
    expect(ran.code).toBe(1);
    expect(ran.err).toMatch(/OPSWAP_E_EVIDENCE/);
  });

  it("runs nothing without a card, and says so as JSON when asked to", async () => {
    const ran = await opswap(["evidence", "run", "rms_norm", "--small", "--json"], env);
    expect(ran.code).toBe(1);
    expect(JSON.parse(ran.out).error.code).toBe("OPSWAP_E_CARD");
  });

  it("says which library it cannot open", async () => {
    const ran = await opswap(["evidence", "show", "--library", join(dir, "none.so")], env);
    expect(ran.code).toBe(3);
    expect(ran.err).toMatch(/none\.so.*OPSWAP_E_NATIVE/);
    expect(ran.err).not.toMatch(/Traceback/);
  });
});
