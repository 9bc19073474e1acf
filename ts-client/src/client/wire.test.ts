import { unpack } from "msgpackr";
import { expect, test } from "vitest";
import { decode, encode } from "./wire.js";

test("integers of any size stay integers, fractions stay fractions", () => {
  const args = [1, 2 ** 31, -(2 ** 31), 2 ** 53 - 1, 2n ** 63n - 1n, 0.5, true, null, "x"];
  const frame = encode({ args, offset: 2 ** 40, shape: [3, 2 ** 33] });
  // 0xcb starts a float: there is one.
  expect([...frame].filter((byte) => byte === 0xcb).length).toBe(1);
  const again = unpack(frame);
  expect(again.args.map(Number)).toEqual(args.map(Number));
  expect(Number(again.offset)).toBe(2 ** 40);
  expect(again.shape.map(Number)).toEqual([3, 2 ** 33]);
});

test("what is not a reply is undefined", () => {
  expect(decode(Buffer.from([0xc1]))).toBeUndefined();
  expect(decode(encode({ id: 1 }))).toBeUndefined();
  expect(decode(encode({ id: 1, ok: true, result: { a: 1 }, more: 2 }))).toEqual({
    id: 1,
    ok: true,
    result: { a: 1 },
  });
});
