import { describe, expect, it } from "vitest";
import { withKey, withoutKey } from "./json-text.js";

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
