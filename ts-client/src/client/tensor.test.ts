import { describe, expect, test } from "vitest";
import { contiguous, itemBytes, layout } from "./tensor.js";

describe("layout", () => {
  test.each([
    [[2, 3], undefined, [3, 1], 24],
    [[], undefined, [], 4],
    [[0, 3], undefined, [3, 1], 0],
    [[2, 3], [8, 1], [8, 1], 44],
    [[2, 3], [0, 1], [0, 1], 12],
    [[1, 3], [999, 1], [999, 1], 12],
  ])("%j with strides %j", (shape, strides, expected, bytes) => {
    expect(layout("float32", shape, strides)).toMatchObject({ strides: expected, bytes });
  });

  test.each([
    [[-1], undefined, /dimension 0/],
    [[1.5], undefined, /dimension 0/],
    [[2], [-1], /stride of 0 or more/],
    [[2, 2], [1], /2 dimensions, strides have 1/],
    [[2 ** 40, 2 ** 40], undefined, /too large|dimension/],
  ])("%j with strides %j is refused", (shape, strides, message) => {
    expect(() => layout("float32", shape, strides)).toThrow(message);
  });

  test("dtypes are those of the manifest", () => {
    expect(itemBytes("bfloat16")).toBe(2);
    expect(() => itemBytes("toString")).toThrow(/expected a dtype of/);
  });

  test("row-major strides", () => {
    expect(contiguous([4, 3, 2])).toEqual([6, 2, 1]);
  });
});
