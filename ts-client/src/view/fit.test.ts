import { describe, expect, it } from "vitest";
import { opFacts } from "../generated/ops.js";
import { shortNames, wrap } from "./fit.js";

const OPS = Object.keys(opFacts);

describe("wrap", () => {
  it("breaks between words and goes on at the indent", () => {
    expect(wrap("sm90  cannot run because of it", 22, 6)).toEqual([
      "sm90  cannot run",
      "      because of it",
    ]);
    expect(wrap("short", 22, 6)).toEqual(["short"]);
  });

  it("breaks a word that is longer than a line, and keeps a narrow column readable", () => {
    expect(wrap("abcdefghij", 4)).toEqual(["abcd", "efgh", "ij"]);
    expect(wrap("key  one two three", 12, 5)).toEqual(["key  one two", "   three"]);
  });

  it.each([1, 2, 3, 7, 40, 80])("loses nothing in %d columns", (width) => {
    const text =
      "No usable CUDA device: the driver, version 535.104, is older than this build needs (570.26).";
    const lines = wrap(text, width, 29);
    expect(lines.join("").replaceAll(" ", "")).toBe(text.replaceAll(" ", ""));
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(width);
  });
});

describe("shortNames", () => {
  it("leaves what fits, and cuts the rest in the middle", () => {
    const shown = shortNames(["rms_norm", "qk_norm_rope_store_kv", "qk_norm_rope_store_kv_block_table"], 19);
    expect([...shown.values()]).toEqual(["rms_norm", "qk_norm_r…_store_kv", "qk_norm_r…ock_table"]);
  });

  it.each([4, 5, 8, 12, 19, 40])("never shows two ops alike in %d columns", (width) => {
    const shown = shortNames(OPS, width);
    expect([...shown.keys()].toSorted()).toEqual(OPS.toSorted());
    expect(new Set(shown.values()).size).toBe(OPS.length);
    expect(Math.max(...[...shown.values()].map((name) => name.length))).toBeLessThanOrEqual(width);
  });
});
