// The gate on shipped binaries, on the built ones and on some that are beyond the list.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { findCompiler } from "../compiler.mjs";
import { nativeDir } from "../paths.mjs";
import { allowList, beyond, checkBinaries, compareVersions, examineBinary } from "./binaries.mjs";

const dir = mkdtempSync(join(tmpdir(), "ob"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A library of one function, under a name that the allow-list has a row for. @param {string} source @param {string[]} args */
async function compiled(source, ...args) {
  writeFileSync(join(dir, "a.cpp"), source);
  const out = join(dir, "libopswap.so");
  execFileSync(await findCompiler(), ["-shared", "-fPIC", join(dir, "a.cpp"), "-o", out, ...args]);
  return out;
}

describe("the gate on binaries", () => {
  it("lets the built library and the addon pass", async () => {
    await expect(checkBinaries(nativeDir)).resolves.toBeUndefined();
    expect((await examineBinary(join(nativeDir, "libopswap.so"))).exports).toContain("opswap_call");
  });

  it("refuses another export and another library, by name", async () => {
    await compiled('extern "C" int stray() { return 1; }', "-Wl,--no-as-needed", "-lresolv");
    await expect(checkBinaries(dir)).rejects.toThrow(
      /libopswap\.so needs libresolv\.so\.2\nlibopswap\.so exports stray/,
    );
  });

  it("refuses a runtime that is newer than the list takes", async () => {
    const facts = await examineBinary(join(nativeDir, "libopswap.so"));
    const { files, versions } = allowList();
    const row = files.find(({ pattern }) => new RegExp(pattern).test("libopswap.so"));
    if (row === undefined) throw new Error("no row");
    expect(beyond(facts, row, versions)).toEqual([]);
    expect(beyond(facts, row, { ...versions, GLIBC: "2.33" })).toEqual([
      expect.stringMatching(/^needs GLIBC_2\.34, newer than/),
    ]);
    expect(beyond({ ...facts, versions: ["GLIBC_PRIVATE"] }, row, versions)).toHaveLength(1);
  });

  it("refuses a binary that no row is for", async () => {
    writeFileSync(join(dir, "other.so"), "");
    await expect(checkBinaries(dir)).rejects.toThrow("other.so: no row of native/packaging/allowed.json");
  });

  it("compares versions part by part", () => {
    expect(["3.4.9", "3.4", "3.10", "3.4.29"].sort(compareVersions)).toEqual([
      "3.4",
      "3.4.9",
      "3.4.29",
      "3.10",
    ]);
  });
});
