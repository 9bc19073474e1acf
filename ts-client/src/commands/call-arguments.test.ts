import { describe, expect, it } from "vitest";
import type { ManifestOp } from "../client/index.js";
import { missingOutputs, readArguments } from "./call-arguments.js";

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
    { name: "scale", kind: "float", default: 1 },
    { name: "limit", kind: "int", default: 0 },
    { name: "exact", kind: "bool", default: false },
  ],
};
const input = { dtype: "bfloat16", shape: [3, 8], bytes: new Uint8Array(48) };

describe("missingOutputs", () => {
  it("works out shape and dtype from the tensors given", () => {
    const missing = missingOutputs(op, new Map([["input", input]]));
    expect(missing.get("out")).toEqual({ dtype: "bfloat16", shape: [3, 4] });
    expect(missing.get("ids")).toEqual({ dtype: "int64", shape: [4] });
  });

  it("leaves tensors alone that are given", () => {
    const out = { dtype: "bfloat16", shape: [3, 4], bytes: new Uint8Array(24) };
    expect([
      ...missingOutputs(
        op,
        new Map([
          ["input", input],
          ["out", out],
        ]),
      ).keys(),
    ]).toEqual(["ids"]);
  });

  it("says which size does not follow", () => {
    expect(() => missingOutputs(op, new Map())).toThrow(/size of out .*T is unknown/);
  });
});

describe("readArguments", () => {
  it("reads scalars as the op declares them", () => {
    const given = readArguments(op, ["scale=1e-3", "limit=9007199254740993", "exact=true"]);
    expect([...given.values()]).toEqual([0.001, 9007199254740993n, true]);
  });

  it("takes none for a tensor that is left out", () => {
    expect(readArguments(op, ["input=none"]).get("input")).toBeNull();
  });

  it.each([
    ["scale=", /of kind float; got $/],
    ["limit=1.5", /of kind int; got 1.5/],
    ["exact=yes", /of kind bool; got yes/],
    ["input=1", /expected FILE.npy/],
    ["nothing", /NAME=VALUE/],
    ["other=1", /one of out, ids, input/],
  ])("refuses %s", (word, reason) => {
    expect(() => readArguments(op, [word])).toThrow(reason);
  });
});
