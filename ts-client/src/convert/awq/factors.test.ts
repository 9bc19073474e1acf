import { describe, expect, it } from "vitest";
import { generator } from "../../testing/mutate-header.js";
import { channelScales, floored, gather, normFactors, STEPS, spread, toBf16 } from "./factors.js";

const random = generator(5);
const unit = () => random(1 << 24) / 2 ** 24;
const squaresOf = (count: number) =>
  Float32Array.from({ length: count }, () => (random(20) === 0 ? 0 : 10 ** (8 * unit() - 4)));

describe.each([1, 7, STEPS])("scales of step %d", (step) => {
  it("are powers of the magnitudes, around 1, and never far apart", () => {
    for (let turn = 0; turn < 50; turn++) {
      const squares = floored(squaresOf(40));
      const scales = channelScales(squares, step);
      const [low, high] = [Math.min(...scales), Math.max(...scales)];
      expect(low * high).toBeCloseTo(1, 9);
      expect(high / low).toBeLessThanOrEqual(2 ** 8 * 1.0001);
      for (const i of [1, 17, 39]) {
        const power = ((squares[i] ?? 0) / (squares[0] ?? 1)) ** (step / (2 * STEPS));
        expect((scales[i] ?? 0) / (scales[0] ?? 1) / power).toBeCloseTo(1, 9);
      }
    }
  });
});

it("step 0, and statistics of zeros, scale nothing", () => {
  expect([...channelScales(floored(squaresOf(9)), 0)]).toEqual(Array(9).fill(1));
  expect([...channelScales(floored(new Float32Array(9)), STEPS)]).toEqual(Array(9).fill(1));
});

/** A weight as files have it: often exactly a bfloat16 number, sometimes 0. */
const weight = () => (random(9) === 0 ? 0 : toBf16(Math.fround((unit() - 0.3) * 10 ** (3 * unit() - 1))));

it.each([
  [false, 0],
  [true, 0],
  [true, -1], // as GGUF has Gemma's: 1 + weight
])(
  "what rounding leaves of a norm is made up for in the columns (1 + weight: %s, missing: %d)",
  (plusOne, add) => {
    for (let turn = 0; turn < 200; turn++) {
      const stored = Float32Array.from({ length: 30 }, weight);
      const scales = channelScales(floored(squaresOf(30)), 1 + random(STEPS));
      const made = normFactors(stored, scales, { add, plusOne });
      for (const [i, value] of stored.entries()) {
        const scaled = Math.fround(Math.fround(value + made.add) * (made.factors[i] ?? 0));
        const written = toBf16(Math.fround(scaled + made.after));
        const one = plusOne ? 1 : 0;
        const [was, is] = [value + add + one, (written + one) * (made.columns[i] ?? 0)];
        const lost = toBf16(value + add) + one === 0; // in BF16 without scales as well
        if (!lost)
          expect(Math.abs(is - was), `${value} becomes ${written}`).toBeLessThanOrEqual(
            1e-12 * Math.abs(was),
          );
        expect(made.columns[i]).toBeGreaterThan(0);
      }
    }
  },
);

it("heads that share values share scales", () => {
  const heads = { repeat: 2, width: 2 };
  const columns = Float64Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  expect([...gather(columns, heads)]).toEqual([2, 3, 6, 7]);
  expect([...spread(Float64Array.of(1, 2, 3, 4), heads)]).toEqual([1, 2, 1, 2, 3, 4, 3, 4]);
});

it("rounds to the nearest bfloat16, ties to even", () => {
  expect(toBf16(1 + 2 ** -8)).toBe(1);
  expect(toBf16(1 + 3 * 2 ** -8)).toBe(1 + 2 ** -6);
  expect(toBf16(-1 - 2 ** -8 - 2 ** -20)).toBe(-1 - 2 ** -7);
});
