import { describe, expect, it } from "vitest";
import { withKey, withoutKey, withoutPath } from "./json-text.js";

const VALUES = [
  "1.0",
  '"x"',
  '"a,b}"',
  '"\\"c\\""',
  "null",
  '{"c": [1, {"a": 2}], "b": "}"}',
  "[]",
  '[{"a": 1}, "]"]',
];

describe.each(VALUES)("a member %s", (value) => {
  it.each([
    `{"a": ${value}}`,
    `{"a": ${value}, "b": 1}`,
    `{"b": 1, "a": ${value}}`,
    `{ "z": 2.50,\n  "a" : ${value} ,\n "b": {"a": 3} }\n`,
  ])("is taken out of %j", (text) => {
    const { a, ...rest } = JSON.parse(text);
    const without = withoutKey(text, "a");
    expect(JSON.parse(without)).toEqual(rest);
    expect(without.includes("2.50")).toBe(text.includes("2.50"));
    expect(withoutKey(without, "a")).toBe(without);
    expect(JSON.parse(withKey(without, "a", a))).toEqual(JSON.parse(text));
  });
});

it("a member that is there twice is taken out twice, as readers keep the last of them", () => {
  expect(JSON.parse(withoutKey('{"a": 1, "b": 2, "a": 3}', "a"))).toEqual({ b: 2 });
  expect(withoutKey('{"a": 1, "a": 3}', "a")).toBe("{}");
});

it("a member deep inside is taken out, and the rest of the text stays", () => {
  const text = '{"t" : { "n": 10000.0, "q": {"x": [Infinity]},\n "r": 12345678901234567890 }, "q": 1.0}';
  const without = '{"t" : { "n": 10000.0,\n "r": 12345678901234567890 }, "q": 1.0}';
  expect(withoutPath(text, ["t", "q"])).toBe(without);
  expect(withoutPath(text, ["t", "q", "x"])).toBe(text.replace('{"x": [Infinity]}', "{}"));
  expect(withoutPath(text, ["t", "n", "q"])).toBe(text);
  expect(withoutPath(text, ["s", "q"])).toBe(text);
  expect(withoutPath(text, [])).toBe(text);
});

it("words of Python's JSON stay as they are", () => {
  const text = '{"a": [0.0, Infinity, -Infinity], "q": NaN, "b": NaN}';
  expect(withoutKey(text, "q")).toBe('{"a": [0.0, Infinity, -Infinity], "b": NaN}');
});
