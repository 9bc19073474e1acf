import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { addonFile, cannotLoad, otherPlatform } from "./addon-file.js";
import { loadFrom, loadNative, sameVersion } from "./native.js";
import { packageVersion } from "./version.js";

/** The functions of the interface Native, read from its source: types are gone when a test runs. */
function declaredFunctions(): string[] {
  const file = path.join(import.meta.dirname, "native.ts");
  const { statements } = ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.Latest);
  const native = statements.filter(ts.isInterfaceDeclaration).find(({ name }) => name.text === "Native");
  return (native?.members ?? []).flatMap(({ name }) => (name && ts.isIdentifier(name) ? [name.text] : []));
}

/** A folder that npm could have made: a package.json and nothing to build. */
let installed: string;
beforeAll(() => {
  installed = mkdtempSync(path.join(tmpdir(), "opswap-"));
  writeFileSync(path.join(installed, "package.json"), "{}");
});
afterAll(() => rmSync(installed, { recursive: true }));

const refusal = (said: string | RegExp) =>
  expect.objectContaining({ code: "OPSWAP_E_NATIVE", remedy: expect.stringMatching(said) });

describe("the addon's file", () => {
  test("is that of OPSWAP_NODE, or this checkout's", () => {
    const root = path.resolve(import.meta.dirname, "../..");
    const own = path.join(root, "build/native/opswap.node");
    expect(addonFile({})).toBe(own);
    expect(addonFile({ OPSWAP_NODE: own }, installed)).toBe(own);
    const refused = () => addonFile({ OPSWAP_NODE: "/nowhere/a.node" });
    expect(refused).toThrow("no addon at /nowhere/a.node");
    expect(refused).toThrow(refusal("unset it and run `npm run build`"));
  });

  test("outside a checkout is in a package, and a build is not what helps", () => {
    const refused = () => addonFile({}, installed);
    expect(refused).toThrow("@opswap/native-linux-x64 is not installed");
    expect(refused).toThrow(refusal(/^install both packages together/));
    expect(refused).not.toThrow(refusal("npm run build"));
  });

  test.each([
    [{ platform: "darwin", arch: "arm64", glibc: undefined }, /Linux alone, and this is darwin/],
    [
      { platform: "linux", arch: "arm64", glibc: "2.36" },
      /linux-x64 alone.*linux-arm64; without it opswap talks/,
    ],
    [
      { platform: "linux", arch: "x64", glibc: undefined },
      /GNU C library alone.*musl; without it opswap talks/,
    ],
  ])("a host without a package is told why, and what still works: %j", (host, said) => {
    expect(otherPlatform(host)).toMatch(said);
  });

  test("a host with one is not", () => {
    expect(otherPlatform({ platform: "linux", arch: "x64", glibc: "2.28" })).toBeUndefined();
  });
});

describe("loading the addon", () => {
  const here = () => ({ platform: "linux", arch: "x64", glibc: "2.17" });

  test("a file that is not an addon is an error of its own", () => {
    const file = path.join(installed, "x.node");
    writeFileSync(file, "not an addon");
    expect(() => loadFrom(file)).toThrow(/x\.node cannot be loaded/);
    expect(() => loadFrom(file)).toThrow(refusal("npm run build"));
  });

  test("older system libraries are named, and another C library", () => {
    const words = "/lib/libc.so.6: version `GLIBC_2.34' not found (required by libopswap.so)";
    expect(cannotLoad("a.node", new Error(words), here).remedy).toMatch(/older than GLIBC_2\.34/);
    const musl = () => ({ ...here(), glibc: undefined });
    expect(cannotLoad("a.node", new Error("ld-linux-x86-64.so.2: No such file"), musl).remedy).toMatch(
      /musl/,
    );
  });

  test("the addon offers what native.ts declares, and nothing else", () => {
    const native = loadNative();
    expect(declaredFunctions()).toContain("convertTensor");
    expect(Object.keys(native).toSorted()).toEqual(declaredFunctions().toSorted());
    for (const [name, value] of Object.entries(native)) expect(value, name).toBeTypeOf("function");
  });

  test("a library of another version is refused by both versions", () => {
    const native = loadNative();
    expect(sameVersion(native, "a.node", packageVersion())).toBe(native);
    const refused = () => sameVersion(native, "a.node", "9.9.9");
    expect(refused).toThrow(`a.node has loaded is opswap ${packageVersion()}, this client is 9.9.9`);
    const remedy = "run `npm run build`";
    expect(refused).toThrow(expect.objectContaining({ code: "OPSWAP_E_INSTALL", remedy }));
  });
});
