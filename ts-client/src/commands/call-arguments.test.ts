import { describe, expect, it } from "vitest";
import type { ManifestOp } from "../client/index.js";
import { type ArgumentValue, readArguments, ZEROS } from "./call-arguments.js";
import { tensorsToMake } from "./call-outputs.js";

const op: ManifestOp = {
  op: "silu_and_mul",
  version: 1,
  hash: "0",
  summary: "",
  types: { scalar: ["float32", "bfloat16"], index: ["int64"] },
  args: [
    { name: "out", kind: "tensor", dtype: "scalar", shape: ["T", "I"], writes: true },
    { name: "ids", kind: "tensor", dtype: "index", shape: ["T+1"], writes: true },
    { name: "input", kind: "tensor", dtype: "scalar", shape: ["T", "2*I"] },
    { name: "sums", kind: "tensor", dtype: "scalar", shape: ["K", "I"], writes: true, reads: "exact" },
    { name: "bias", kind: "tensor", dtype: "scalar", shape: ["I"], optional: true },
    { name: "scale", kind: "float", default: 1 },
    { name: "limit", kind: "int", default: 0 },
    { name: "exact", kind: "bool", default: false },
  ],
  require: ["limit == 0 or K == limit", "limit != 0 or K >= T - 1"],
};
const input = { dtype: "bfloat16", shape: [3, 8], bytes: new Uint8Array(48) };
/** The words of a command line, read. */
function words(given: Record<string, ArgumentValue>, sizes: Record<string, number> = {}) {
  return { given: new Map(Object.entries(given)), sizes: new Map(Object.entries(sizes)) };
}

describe("tensorsToMake", () => {
  it("works out shape and dtype from the tensors given, and from what the op requires", () => {
    const made = tensorsToMake(op, words({ input }));
    expect(made).toEqual(
      new Map([
        ["out", { dtype: "bfloat16", shape: [3, 4] }],
        ["ids", { dtype: "int64", shape: [4] }],
        ["sums", { dtype: "bfloat16", shape: [2, 4] }],
      ]),
    );
  });

  it("takes sizes by their name, and scalars that decide them", () => {
    expect(tensorsToMake(op, words({ input }, { K: 7 })).get("sums")?.shape).toEqual([7, 4]);
    expect(tensorsToMake(op, words({ input, limit: 9n })).get("sums")?.shape).toEqual([9, 4]);
  });

  it("leaves tensors alone that are given, and makes zeros of any that asks for them", () => {
    const out = { dtype: "bfloat16", shape: [3, 4], bytes: new Uint8Array(24) };
    const made = tensorsToMake(op, words({ input, out, bias: ZEROS }));
    expect([...made.keys()]).toEqual(["ids", "sums", "bias"]);
  });

  it("asks for a tensor whose old values count", () => {
    expect(() => tensorsToMake(op, words({ input, exact: true }))).toThrow(
      /sums is written in place.*sums=zeros/,
    );
  });

  it("says which tensor is missing, and which size does not follow", () => {
    expect(() => tensorsToMake(op, words({}))).toThrow(/input \(tensor\) is missing/);
    const odd = { ...input, shape: [3, 7] };
    expect(() => tensorsToMake(op, words({ input: odd }))).toThrow(
      expect.objectContaining({
        message: expect.stringContaining("size of out [T, I] does not follow from what is given: I unknown"),
        remedy: "give I=SIZE, or out=FILE",
      }),
    );
  });

  it("never makes a size below 0", () => {
    const none = { ...input, shape: [0, 8] };
    expect(() => tensorsToMake(op, words({ input: none }))).toThrow(/size of sums/);
  });
});

describe("readArguments", () => {
  it("reads scalars as the op declares them", () => {
    const { given } = readArguments(op, ["scale=1e-3", "limit=9007199254740993", "exact=true"]);
    expect([...given.values()]).toEqual([0.001, 9007199254740993n, true]);
  });

  it("takes none for a tensor that is left out, and zeros for one that is made", () => {
    const { given } = readArguments(op, ["input=none", "bias=zeros"]);
    expect([...given.values()]).toEqual([null, ZEROS]);
  });

  it("takes sizes apart from arguments", () => {
    expect(readArguments(op, ["K=12"])).toEqual({ given: new Map(), sizes: new Map([["K", 12]]) });
  });

  it.each([
    ["scale=", /of kind float; got $/],
    ["limit=1.5", /of kind int; got 1.5/],
    ["exact=yes", /of kind bool; got yes/],
    ["input=1", /expected FILE.npy/],
    ["K=-1", /K is a size: expected a whole number/],
    ["nothing", /NAME=VALUE/],
    ["other=1", /one of out, ids, input.*or a size of T, I, K/],
  ])("refuses %s", (word, reason) => {
    expect(() => readArguments(op, [word])).toThrow(reason);
  });
});
