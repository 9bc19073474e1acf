import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { addonPaths, loadFrom, loadNative } from "./native.js";

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
    expect(addonPaths({}).every((file) => file.endsWith("build/native/opswap.node"))).toBe(true);
  });

  test("the addon offers what native.ts declares", () => {
    const native = loadNative();
    const names = ["manifest", "version", "stats", "resetStats", "why", "use", "setThreads", "getThreads"];
    for (const name of [...names, "tensor", "call", "shmCreate", "shmOpen", "shmUnlink"]) {
      expect(native, name).toHaveProperty(name, expect.any(Function));
    }
  });
});
