import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { pythonEnvironment } from "../python-environment.js";
import { isTensorFile, readTensor, writeTensors } from "./index.js";
import { formatNpy, parseNpy } from "./npy.js";
import { formatSafetensors, parseSafetensors } from "./safetensors.js";

const dir = mkdtempSync(path.join(tmpdir(), "ow"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const bytes = new Uint8Array(24).map((_, i) => i);

describe("npy", () => {
  it.each([[[2, 3]], [[6]], [[1, 2, 3]]])("reads back shape %j", (shape) => {
    const tensor = { dtype: "float32", shape, bytes };
    const parsed = parseNpy("f", formatNpy("f", tensor));
    expect({ ...parsed, bytes: new Uint8Array(parsed.bytes) }).toEqual(tensor);
  });

  it("is what numpy reads and writes", () => {
    const file = path.join(dir, "n.npy");
    writeFileSync(file, formatNpy("f", { dtype: "int32", shape: [2, 3], bytes }));
    const script =
      "import numpy,sys; a=numpy.load(sys.argv[1]); numpy.save(sys.argv[1], a*2); print(a.dtype, a.shape)";
    const { python, env } = pythonEnvironment();
    const said = execFileSync(python, ["-c", script, file], { env, encoding: "utf8" });
    expect(said.trim()).toBe("int32 (2, 3)");
    const doubled = parseNpy("f", readFileSync(file));
    expect(Buffer.from(doubled.bytes).readInt32LE(4)).toBe(2 * Buffer.from(bytes).readInt32LE(4));
  });

  it.each([
    ["not npy at all", Buffer.from("hello, this is text"), /not a .npy file/],
    ["cut data", formatNpy("f", { dtype: "float32", shape: [6], bytes }).subarray(0, -1), /holds 23 bytes/],
    [
      "a header of another kind",
      Buffer.concat([Buffer.from("\x93NUMPY\x01\x00\x04\x00{}  ", "latin1")]),
      /header/,
    ],
  ])("refuses %s", (_what, data, reason) => {
    expect(() => parseNpy("f.npy", data)).toThrow(reason);
  });

  it("cannot hold bfloat16 and says what can", () => {
    expect(() => formatNpy("f.npy", { dtype: "bfloat16", shape: [12], bytes })).toThrow(/safetensors/);
  });
});

describe("safetensors", () => {
  const tensors = new Map([
    ["a", { dtype: "bfloat16", shape: [3, 4], bytes }],
    ["b", { dtype: "int64", shape: [], bytes: bytes.slice(0, 8) }],
  ]);

  it("reads back what it wrote", () => {
    const parsed = parseSafetensors("f", formatSafetensors(tensors));
    expect([...parsed].map(([name, t]) => [name, t.dtype, t.shape, [...t.bytes]])).toEqual(
      [...tensors].map(([name, t]) => [name, t.dtype, t.shape, [...t.bytes]]),
    );
  });

  function withHeader(header: string, body = 0): Buffer {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    return Buffer.concat([length, Buffer.from(header), Buffer.alloc(body)]);
  }
  const entry = (offsets: string, dtype = "F32") =>
    `{"t":{"dtype":"${dtype}","shape":[2],"data_offsets":${offsets}}}`;

  it.each([
    ["a header longer than the file", Buffer.from([255, 255, 255, 0, 0, 0, 0, 0]), /claims a header/],
    ["a header that is not JSON", withHeader("nonsense"), /not JSON/],
    ["offsets beyond the data", withHeader(entry("[0,8]"), 4), /offsets 0 to 8/],
    ["offsets that do not fit the shape", withHeader(entry("[0,4]"), 8), /does not fit/],
    ["negative offsets", withHeader(entry("[-8,0]"), 8), /malformed/],
    ["an unknown dtype", withHeader(entry("[0,8]", "F4"), 8), /dtype F4/],
  ])("refuses %s", (_what, data, reason) => {
    expect(() => parseSafetensors("f.safetensors", data)).toThrow(reason);
  });
});

describe("files on the command line", () => {
  const file = path.join(dir, "two.safetensors");
  writeTensors(
    file,
    new Map([
      ["a", { dtype: "uint8", shape: [2], bytes: bytes.slice(0, 2) }],
      ["b", { dtype: "uint8", shape: [1], bytes: bytes.slice(0, 1) }],
    ]),
  );

  it("takes the named tensor, or that of the argument's name", () => {
    expect(readTensor(`${file}#b`, "a").shape).toEqual([1]);
    expect(readTensor(file, "a").shape).toEqual([2]);
    expect(() => readTensor(file, "c")).toThrow(/has no tensor c; it has a, b/);
  });

  it("knows its files by their ending", () => {
    expect(["x.npy", "x.safetensors", "x.safetensors#w", "1.5"].map(isTensorFile)).toEqual([
      true,
      true,
      true,
      false,
    ]);
    expect(() => writeTensors(path.join(dir, "x.bin"), new Map())).toThrow(/ending/);
  });
});
