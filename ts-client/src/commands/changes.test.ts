import { expect, it } from "vitest";
import { changesOf } from "./changes.js";

it("takes one op, or several as pairs", () => {
  expect(changesOf(["rms_norm", "ref"])).toEqual([{ op: "rms_norm", impl: "ref" }]);
  expect(changesOf(["a=cpu"])).toEqual([{ op: "a", impl: "cpu" }]);
  expect(changesOf(["a=cpu", "b=sm90@x"])).toEqual([
    { op: "a", impl: "cpu" },
    { op: "b", impl: "sm90@x" },
  ]);
});

it.each([[["a"]], [["a", "b", "c"]], [["a=b", "c"]], [["a="]], [["=b"]], [["a=b=c"]]])(
  "refuses %j, and says what to write",
  (words) => {
    const wrong = expect.objectContaining({
      code: "OPSWAP_E_USAGE",
      remedy: expect.stringMatching(/OP=IMPL/),
    });
    expect(() => changesOf(words)).toThrow(wrong);
  },
);
