import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { report, tensor } from "../../testing/reports.js";
import { pageText } from "./page.js";
import { readReport, readSummary, reportText } from "./report.js";

const dir = mkdtempSync(path.join(tmpdir(), "or"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const file = path.join(dir, "conversion.json");
const many = report([tensor('a "} ],{', 31), tensor("\u00e9", null), tensor(' "tensors": [', 20)]);
const none = report([]);
const text = (one: typeof many) => [...reportText(one)].join("");

describe.each([
  ["as it is written", text],
  ["set by other tools on lines of their own", (one: typeof many) => `${JSON.stringify(one, null, 1)}\n`],
  ["set in one line", (one: typeof many) => `${JSON.stringify(one)}\n`],
])("a report %s", (_how, set) => {
  it.each([many, none])("is read back, whole or without its $tensors.length tensors", (one) => {
    writeFileSync(file, set(one));
    const { tensors, ...summary } = one;
    expect(readReport(dir)).toEqual({ ...summary, tensors });
    expect(readSummary(dir)).toEqual(summary);
  });
});

it("is JSON with a line for each tensor", () => {
  expect(JSON.parse(text(many))).toEqual(many);
  const lines = text(many)
    .split("\n")
    .map((line) => line.replace(/,$/, ""));
  for (const one of many.tensors) expect(lines).toContain(JSON.stringify(one));
});

it("that was cut is refused", () => {
  writeFileSync(file, text(many).slice(0, -20));
  expect(() => readReport(dir)).toThrow(/is not a report of this version/);
});

it("and its page come in pieces that do not grow with the number of tensors", () => {
  const longest = (count: number) => {
    const one = report(Array.from({ length: count }, (_, i) => tensor(`m.${i % 9}.up_proj.weight`, 30)));
    return [...reportText(one), ...pageText(one)].reduce((most, piece) => Math.max(most, piece.length), 0);
  };
  expect(longest(3000)).toBe(longest(30));
});
