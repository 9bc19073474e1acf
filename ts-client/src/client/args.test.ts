import { describe, expect, test } from "vitest";
import { declared, packArguments } from "./args.js";
import { type ManifestOp, readManifest } from "./manifest.js";

const norm: ManifestOp = {
  op: "norm",
  version: 1,
  hash: "h",
  summary: "",
  args: [
    { name: "out", kind: "tensor", writes: true },
    { name: "bias", kind: "tensor", optional: true },
    { name: "epsilon", kind: "float", default: 1e-6 },
    { name: "causal", kind: "bool", default: false },
  ],
};

describe("packArguments", () => {
  test("puts names in order and fills in what is left out", () => {
    expect(packArguments(norm, { epsilon: 2, out: 1 })).toEqual([1, null, 2, false]);
    expect(packArguments(norm, { out: 1, bias: 5, causal: true })).toEqual([1, 5, 1e-6, true]);
  });

  test("names what is missing and what is strange", () => {
    expect(() => packArguments(norm, {})).toThrow("norm: argument out (tensor) is missing");
    expect(() => packArguments(norm, { out: 1, eps: 1 })).toThrow(
      "norm: no argument eps; it takes out, bias",
    );
  });
});

describe("manifest", () => {
  const manifest = { schema: 1, errors: [], ops: [norm], news: true };

  test("keeps what it does not know", () => {
    expect(readManifest(manifest)).toMatchObject({ news: true });
  });

  test("a newer schema is refused with both numbers", () => {
    expect(() => readManifest({ ...manifest, schema: 2 })).toThrow(/schema 2, this client reads up to 1/);
  });

  test("what is not a manifest is refused by field", () => {
    expect(() => readManifest({ ...manifest, ops: [{ op: 1 }] })).toThrow(/manifest: ops\.0/);
  });

  test("an unknown op is refused with the nearest", () => {
    const refusal = (op: string) => () => declared(readManifest(manifest), op);
    expect(refusal("nrm")).toThrow(/^no op named nrm; did you mean norm\?$/);
    expect(refusal("softmax")).toThrow(/^no op named softmax$/);
    expect(refusal("nrm")).toThrow(expect.objectContaining({ code: "OPSWAP_E_NO_OP" }));
  });
});
