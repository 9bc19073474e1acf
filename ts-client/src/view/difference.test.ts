import { describe, expect, it } from "vitest";
import { difference } from "./difference.js";
import { replayLines } from "./replay-lines.js";

const limits = { atol: 0.1, rtol: 0.01 };

describe("difference", () => {
  it("counts what differs and what is outside, and finds the worst elements in order", () => {
    const expected = Float64Array.of(1, 10, 100, -1, 0, 5);
    const got = Float64Array.of(1, 10.15, 104, -1.3, 0, 5.12);
    // Allowed are 0.11, 0.2, 1.1, 0.11, 0.1 and 0.15.
    const found = difference(got, expected, [2, 3], limits, 3);
    expect(found).toMatchObject({
      elements: 6,
      differing: 4,
      outside: 2,
      maxAbs: 4,
      share: expect.closeTo(4 / 1.1),
    });
    expect(found.worst).toEqual([
      { index: [0, 2], got: 104, expected: 100 },
      { index: [1, 0], got: -1.3, expected: -1 },
      { index: [1, 2], got: 5.12, expected: 5 },
    ]);
  });

  it("takes NaN for the same as NaN and for outside anything else, and so infinities", () => {
    const found = difference(
      Float64Array.of(NaN, NaN, Infinity, 1, Infinity),
      Float64Array.of(NaN, 1, Infinity, Infinity, -Infinity),
      [5],
      limits,
      9,
    );
    expect(found).toMatchObject({ differing: 3, outside: 3, maxAbs: 0 });
    expect(found.worst.map(({ index }) => index[0]).sort()).toEqual([1, 3, 4]);
  });

  it("holds outputs without a tolerance to the value", () => {
    const exact = { atol: 0, rtol: 0 };
    expect(difference(Float64Array.of(3), Float64Array.of(4), [1], exact, 1)).toMatchObject({ outside: 1 });
    expect(difference(Float64Array.of(4), Float64Array.of(4), [], exact, 1)).toMatchObject({ outside: 0 });
  });
});

describe("lines of a replay", () => {
  it("has a line per output and the worst elements below", () => {
    const arm = {
      impl: "cpu",
      output: "out",
      ...difference(Float64Array.of(2), Float64Array.of(1), [1], limits, 1),
    };
    const report = { file: "f", op: "silu", bucket: "T1 I1 float32", yardstick: "ref", arms: [arm] };
    const lines = replayLines(report).map((line) => line.trim().split(/ {2,}/));
    expect(lines[0]).toEqual(["silu, T1 I1 float32, against ref"]);
    expect(lines[2]).toEqual(["cpu", "out", "1", "1", "1", "1.00", "9.09"]);
    expect(lines.at(-1)).toEqual(["cpu", "out[0]", "2.00000000", "1.00000000"]);
    expect(replayLines({ ...report, arms: [] })).toEqual(["silu, T1 I1 float32, against ref: ran"]);
  });
});
