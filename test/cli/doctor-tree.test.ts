import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { opswap, scratch } from "./harness.js";

const { dir, remove } = scratch();
afterAll(remove);

/** A tree with nothing but a version. */
function tree(version: string): string {
  const folder = path.join(dir, version, "tensorrt_llm");
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, "version.py"), `__version__ = "${version}"\n`);
  return folder;
}

describe("doctor --trtllm", () => {
  it("names each row that a tree lacks, and exits 1", async () => {
    const ran = await opswap(["doctor", "--trtllm", tree("1.2.1")]);
    expect(ran.code).toBe(1);
    expect(ran.out).toMatch(
      /^warn {2}version: TensorRT-LLM 1\.2\.1, compared with the table 1\.2; .* was not run/m,
    );
    expect(ran.out).toMatch(
      /^fail {2}linear: tensorrt_llm\._torch\.modules\.linear:Linear\.create_weights: /m,
    );
    expect(ran.out).toContain("OPSWAP_TRTLLM_SKIP=linear leaves the seam to TensorRT-LLM");
    expect(ran.out).toMatch(/NOT healthy\n$/);
  });

  it("takes the table that is asked for, and prints JSON", async () => {
    const ran = await opswap(["doctor", "--trtllm", tree("1.3.0"), "--table", "main", "--json"]);
    const { healthy, checks } = JSON.parse(ran.out);
    expect(healthy).toBe(false);
    expect(checks[0].message).toContain("compared with the table main");
  });

  it.each([
    [["--trtllm", "/no/such/folder"], /there is no such folder \[OPSWAP_E_USAGE\]/],
    [["--table", "main"], /--table says what a tree is compared with \[OPSWAP_E_USAGE\]/],
  ])("refuses %j", async (words, said) => {
    const ran = await opswap(["doctor", ...words]);
    expect(ran.code).toBe(2);
    expect(ran.err).toMatch(said);
  });
});
