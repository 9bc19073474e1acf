import { describe, expect, test } from "vitest";
import { jsonPieces } from "./json-lines.js";

const joined = (value: unknown) => [...jsonPieces(value)].join("\n");

describe("JSON in pieces", () => {
  test.each([
    [{}],
    [[]],
    [null],
    ["a\nb"],
    [{ a: 1, none: undefined, list: [], deep: { x: [1, { y: "\n" }] } }],
    [{ list: [{ a: [1, 2], b: undefined }, [], {}, "x\ny", undefined, null] }],
    [[{ a: 1 }, { b: 2 }]],
    [new Date(0)],
  ])("is what JSON.stringify says of %j", (value) => {
    expect(joined(value)).toBe(JSON.stringify(value, null, 2));
  });

  test("a long list comes in more than one", () => {
    const value = { list: Array.from({ length: 50_000 }, (_, i) => ({ name: `tensor ${i}` })) };
    expect([...jsonPieces(value)].length).toBeGreaterThan(1);
    expect(joined(value)).toBe(JSON.stringify(value, null, 2));
  });
});
