/** Which ops a bisect leaves out. */
import { expect, it } from "vitest";
import type { Manifest, OpswapClient } from "../client/index.js";
import { opsToTest } from "./tested-ops.js";

const impls = ["cpu", "ref"].map((name) => ({ name, usable: true, reason: "" }));
const client = {
  why: async () => ({ ranks: [{ rank: 0, active: "cpu", impls }] }),
} as unknown as OpswapClient;
const manifest = { ops: [] } as unknown as Manifest;

it("leaves out what could not be put back, or not be switched to", async () => {
  const barred = [
    { op: "linear", impl: "cpu", reason: "wrong" },
    { op: "sample", impl: "ref", reason: "died" },
    { op: "rms_norm", impl: "mine", reason: "of no matter here" },
  ];
  const seen = ["linear", "sample", "rms_norm"];
  expect(await opsToTest(client, manifest, { seen, against: "ref", only: undefined, barred })).toEqual({
    tested: [{ op: "rms_norm", now: "cpu" }],
    untested: [
      { op: "linear", reason: "cpu is barred: wrong" },
      { op: "sample", reason: "ref is barred: died" },
    ],
  });
});
