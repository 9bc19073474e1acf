/** Distances of played answers, worked out by hand. */
import { describe, expect, it } from "vitest";
import { type Answer, apart } from "./compare.js";

/** An answer of these tokens; each has its log-probability and those of others at its place. */
function answer(tokens: [string, number, Record<string, number>?][], prompt: (number | null)[] = []): Answer {
  const made = tokens.map(([text, logprob, others = {}]) => ({
    text,
    logprob,
    top: { ...others, [text]: logprob },
  }));
  return { prompt, tokens: made, failure: null };
}
const failed: Answer = { prompt: [], tokens: [], failure: "not a number" };

describe("two answers", () => {
  it("are apart by the root mean square of prompt or answer, the larger one", () => {
    const now = answer(
      [
        ["a", -1],
        ["b", -1],
      ],
      [null, -2, -4],
    );
    const other = answer(
      [
        ["a", -1.3],
        ["b", -1.4],
      ],
      [null, -2.1, -4.1],
    );
    const found = apart(now, other);
    expect(found.distance).toBeCloseTo(Math.sqrt((0.09 + 0.16) / 2), 12);
    expect(found).toMatchObject({ compared: 2, divergence: null });
    expect(apart(now, now).distance).toBe(0);
  });

  it("are compared up to the first other token, and with each other's likeliest there", () => {
    const now = answer([
      ["a", -1],
      ["b", -0.5, { c: -1 }],
      ["x", -9],
    ]);
    const other = answer([
      ["a", -1],
      ["c", -0.7, { b: -0.9 }],
      ["y", -1],
    ]);
    const { distance, largest, compared, divergence } = apart(now, other);
    expect(largest).toBeCloseTo(0.4, 12);
    expect(distance).toBeCloseTo(Math.sqrt(0.16 / 2), 12);
    expect([compared, divergence]).toEqual([
      2,
      { index: 1, now: { token: "b", logprob: -0.5 }, other: { token: "c", logprob: -0.7 } },
    ]);
  });

  it("moves a token that is not among the likeliest at least below the last of these", () => {
    const now = answer([["a", -0.1]]);
    const other = answer([["b", -0.2, { c: -3 }]]);
    expect(apart(now, other).distance).toBeCloseTo(2.9, 12);
  });

  it("are as far apart as can be where one failed, ended, or is no number", () => {
    const now = answer([["a", -1]]);
    for (const other of [failed, answer([]), answer([["a", Number.NaN]])])
      expect(apart(now, other).distance).toBe(Infinity);
    expect(apart(failed, failed).distance).toBe(0);
    expect(apart(now, answer([])).divergence).toEqual({
      index: 0,
      now: { token: "a", logprob: -1 },
      other: null,
    });
  });
});
