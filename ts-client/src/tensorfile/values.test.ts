import { describe, expect, it } from "vitest";
import { values } from "./values.js";

const bytes = (array: { buffer: ArrayBufferLike }) => new Uint8Array(array.buffer as ArrayBuffer);

describe("values", () => {
  it.each<[string, Uint8Array, number[]]>([
    ["float64", bytes(Float64Array.of(-0.1, 1e300)), [-0.1, 1e300]],
    ["float32", bytes(Float32Array.of(0.5, -3)), [0.5, -3]],
    // The encodings are those of IEEE 754, of bfloat16's definition, and of the OCP FP8 specification's tables.
    ["bfloat16", bytes(Uint16Array.of(0x3f80, 0xc000, 0x0001, 0xff80)), [1, -2, 2 ** -133, -Infinity]],
    [
      "float16",
      bytes(Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00)),
      [1, -2, 2 ** -24, 65504, Infinity],
    ],
    ["float8_e4m3fn", Uint8Array.of(0x38, 0x7e, 0x01, 0x88, 0x00), [1, 448, 2 ** -9, -(2 ** -6), 0]],
    ["float8_e5m2", Uint8Array.of(0x3c, 0x7b, 0x01, 0xfc), [1, 57344, 2 ** -16, -Infinity]],
    ["int64", bytes(BigInt64Array.of(-5n, 1n << 40n)), [-5, 2 ** 40]],
    ["int32", bytes(Int32Array.of(-7, 8)), [-7, 8]],
    ["int8", Uint8Array.of(0xff, 1), [-1, 1]],
    ["uint8", Uint8Array.of(0xff, 1), [255, 1]],
  ])("%s", (dtype, data, wanted) => {
    expect([...values(dtype, data)]).toEqual(wanted);
  });

  it("reads a view that starts anywhere", () => {
    const file = new Uint8Array([9, ...bytes(Float32Array.of(2, 4)), 9]);
    expect([...values("float32", file.subarray(1, 9))]).toEqual([2, 4]);
  });

  it("knows what is no number", () => {
    expect([...values("float8_e4m3fn", Uint8Array.of(0x7f, 0xff))]).toEqual([NaN, NaN]);
    expect([...values("float16", bytes(Uint16Array.of(0x7c01)))]).toEqual([NaN]);
    expect([...values("bfloat16", bytes(Uint16Array.of(0xffff)))]).toEqual([NaN]);
  });
});
