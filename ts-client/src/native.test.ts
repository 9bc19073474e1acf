import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { addonPaths, loadFrom, loadNative } from "./native.js";

/** The functions of the interface Native, read from its source: types are gone when a test runs. */
function declaredFunctions(): string[] {
  const file = path.join(import.meta.dirname, "native.ts");
  const { statements } = ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.Latest);
  const native = statements.filter(ts.isInterfaceDeclaration).find(({ name }) => name.text === "Native");
  return (native?.members ?? []).flatMap(({ name }) => (name && ts.isIdentifier(name) ? [name.text] : []));
}

describe("loading the addon", () => {
  test("names every path that was tried", () => {
    const refused = () => loadFrom(["/nowhere/a.node", "/nowhere/b.node"]);
    expect(refused).toThrow("no addon at /nowhere/a.node or /nowhere/b.node");
    expect(refused).toThrow(
      expect.objectContaining({ code: "OPSWAP_E_NATIVE", remedy: expect.stringMatching(/build/) }),
    );
  });

  test("a file that is not an addon is an error of its own", () => {
    const dir = mkdtempSync(path.join(tmpdir(), "opswap-"));
    const file = path.join(dir, "x.node");
    writeFileSync(file, "not an addon");
    expect(() => loadFrom([file])).toThrow(/x\.node cannot be loaded/);
    rmSync(dir, { recursive: true });
  });

  test("OPSWAP_NODE replaces the places of this checkout", () => {
    expect(addonPaths({ OPSWAP_NODE: "/a/b.node" })).toEqual(["/a/b.node"]);
    const root = path.resolve(import.meta.dirname, "../..");
    expect(addonPaths({})).toContain(path.join(root, "build/native/opswap.node"));
  });

  test("the addon offers what native.ts declares, and nothing else", () => {
    const native = loadNative();
    expect(declaredFunctions()).toContain("convertTensor");
    expect(Object.keys(native).toSorted()).toEqual(declaredFunctions().toSorted());
    for (const [name, value] of Object.entries(native)) expect(value, name).toBeTypeOf("function");
  });
});
