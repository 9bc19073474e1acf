import { describe, expect, it } from "vitest";
import { evaluate, solveFor, type Value } from "./evaluate.js";
import { parse } from "./expression.js";

const known = new Map<string, Value>([
  ["N", 7n],
  ["flag", 1n],
  ["ratio", 3],
]);
const worth = (text: string) => evaluate(parse(text), known);

describe("expressions", () => {
  it.each([
    ["1 + 2 * 3", 7n],
    ["(1 + 2) * 3", 9n],
    ["10 - 4 - 3", 3n],
    ["N / 2 * 2", 6n],
    ["-N / 2", -3n],
    ["-N % 4", -3n],
    ["ratio / 2", 1.5],
    ["N == 7 and !flag or N != 8", 1n],
    ["!flag == 0", 1n],
    ["(N > 6) + (N > 7)", 1n],
    ["ratio <= 2.5", 0n],
    ["N % 0", undefined],
  ])("%s is %s, as in C++", (text, value) => {
    expect(worth(text)).toBe(value);
  });

  it("has no value while a name is unknown, unless one side decides", () => {
    expect(worth("N + X")).toBeUndefined();
    expect(worth("X == 1 or flag")).toBe(1n);
    expect(worth("!flag and X == 1")).toBe(0n);
    expect(worth("flag and X == 1")).toBeUndefined();
  });

  it.each(["", "2 *", "(N", "N)", "N N", "N ** 2", "N = 2", "f(N)", "N & 1", "2.x"])("refuses %j", (text) => {
    expect(() => parse(text)).toThrow(/expected an expression/);
  });
});

describe("solveFor", () => {
  it.each([
    ["2*X", 8n, 4n],
    ["X+1", 8n, 7n],
    ["N1+X+N", 20n, undefined],
    ["2*(N - X) + X", 4n, 10n],
    ["2*X", 7n, undefined],
    ["X+9", 8n, undefined],
    ["X*X", 9n, undefined],
    ["(X + 127) / 128", 1n, undefined],
    ["0*X", 0n, undefined],
  ])("%s == %s gives %s", (text, target, found) => {
    expect(solveFor("X", parse(text), target, known)).toBe(found);
  });
});
