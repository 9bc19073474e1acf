import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, expect, it } from "vitest";
import { holds, piecesOf, wholeLines, writeText } from "./text-file.js";

const dir = mkdtempSync(path.join(tmpdir(), "ot"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const file = path.join(dir, "text");

it("writes and reads lines longer than a piece, and those that cross its border", () => {
  const lines = ["a", "", "\u00e9".repeat(700_000), ...Array<string>(150).fill("\u20ac".repeat(1777))];
  writeText(
    file,
    lines.map((line) => `${line}\n`),
  );
  expect(readFileSync(file, "utf8")).toBe(`${lines.join("\n")}\n`);
  expect([...wholeLines(file)].map(({ text }) => text)).toEqual(lines);
});

it("leaves out what no line feed ends, and says where that begins", () => {
  writeFileSync(file, "\u00e9\nb\nha");
  expect([...wholeLines(file)]).toEqual([
    { text: "\u00e9", end: 3 },
    { text: "b", end: 5 },
  ]);
  writeFileSync(file, "ha");
  expect([...wholeLines(file)]).toEqual([]);
});

it("tells whether a file is what it should be, to the last byte", () => {
  const text = "\u20ac".repeat(200_000);
  writeFileSync(file, text);
  expect(holds(file, [text])).toBe(true);
  expect(holds(file, text.match(/.{500}/gu) ?? [])).toBe(true);
  const pieces = [...piecesOf(file)];
  expect(pieces.length).toBeGreaterThan(1);
  expect(Buffer.concat(pieces).equals(Buffer.from(text))).toBe(true);
  expect(holds(file, pieces)).toBe(true);
  for (const other of [`${text}x`, text.slice(1), "", text.replace(/.$/u, "x")])
    expect(holds(file, [other])).toBe(false);
  writeFileSync(file, "");
  expect(holds(file, [])).toBe(true);
  expect(holds(file, ["x"])).toBe(false);
});
