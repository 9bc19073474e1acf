import { describe, expect, it } from "vitest";
import { parseJsonText } from "./python-json.js";

describe("JSON as Python writes it", () => {
  it("has infinities and NaN as numbers wherever a value may be", () => {
    const text = '{"a": [0.0, Infinity, -Infinity,NaN], "b": NaN, "c": {"d": -Infinity}}';
    const [inf, none] = [Number.POSITIVE_INFINITY, Number.NaN];
    expect(parseJsonText(text)).toEqual({ a: [0, inf, -inf, none], b: none, c: { d: -inf } });
    expect(parseJsonText("NaN")).toBeNaN();
  });

  it("keeps words in strings and keys", () => {
    const text = String.raw`{"Infinity": "NaN", "x\"NaN": "-Infinity\\", "y": Infinity}`;
    expect(parseJsonText(text)).toEqual({
      Infinity: "NaN",
      'x"NaN': "-Infinity\\",
      y: Number.POSITIVE_INFINITY,
    });
  });

  it.each([
    "",
    "{",
    '{"a": Inf}',
    '{"a": 1Infinity}',
    '{"a": Infinity1}',
    '{"a": --Infinity}',
    '{"a": -NaN}',
    '{"a": +Infinity}',
    '{"a": NaN NaN}',
    '{"a": "NaN}',
    "{NaN: 1}",
    '{"a": infinity}',
    '{"a": NaNs}',
  ])("%j is not JSON for Python either", (text) => {
    expect(() => parseJsonText(text)).toThrow(SyntaxError);
  });
});
