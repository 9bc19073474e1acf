import { describe, expect, it } from "vitest";
import type { ImplStats, RankOps } from "../generated/messages.js";
import { age, count, duration } from "./format.js";
import { opRows, rankRows } from "./op-rows.js";
import { table, toWidth } from "./table.js";

function stats(name: string, calls: number, mean: number, p99: number): ImplStats {
  return { name, calls, errors: 0, mean_ns: mean, p50_ns: mean, p99_ns: p99 };
}

function rank(id: number, active: string, calls: number, mean: number, epoch = 1): RankOps {
  const impls = [stats("ref", 2, 900, 950), stats("cpu", calls, mean, mean * 2)];
  return { rank: id, step: 5, epoch, ops: [{ op: "rms_norm", active, impls }] };
}

describe("formats", () => {
  it.each([
    [0, "-"],
    [999, "999 ns"],
    [1_234, "1.23 us"],
    [56_780, "56.8 us"],
    [123_456_789, "123 ms"],
    [2_500_000_000, "2.50 s"],
  ])("duration(%d) is %s", (ns, text) => {
    expect(duration(ns)).toBe(text);
  });

  it("counts with separators and ages in one unit", () => {
    expect(count(1_234_567)).toBe("1,234,567");
    expect([age(12_000), age(300_000), age(7_500_000)]).toEqual(["12 s", "5 min", "2 h 5 min"]);
  });

  it("cuts and fills to a width", () => {
    expect([toWidth("abcdef", 4), toWidth("ab", 4), toWidth("ab", 4, true)]).toEqual([
      "abc…",
      "ab  ",
      "  ab",
    ]);
  });

  it("lines columns up, numbers at the right", () => {
    const lines = table([{ head: "OP" }, { head: "CALLS", right: true }], [["norm", "7"]]);
    expect(lines).toEqual(["OP    CALLS", "norm      7"]);
  });
});

describe("rows", () => {
  it("has one row per op and rank, with the active implementation's times", () => {
    const [row] = rankRows([rank(1, "cpu", 10, 100)]);
    expect(row).toMatchObject({ op: "rms_norm", rank: 1, active: "cpu", calls: 12, meanNs: 100, p99Ns: 200 });
  });

  it("merges ranks: calls add up, means are weighted, the slowest p99 and the lowest epoch count", () => {
    const [row] = opRows([rank(0, "cpu", 8, 100, 2), rank(1, "cpu", 28, 200, 1)]);
    expect(row).toMatchObject({ rank: null, active: "cpu", mixed: false, calls: 40, p99Ns: 400, epoch: 1 });
    expect(row?.meanNs).toBeCloseTo((100 * 8 + 200 * 28) / 36);
  });

  it("shows that ranks differ", () => {
    const [row] = opRows([rank(0, "cpu", 8, 100), rank(1, "ref", 8, 100)]);
    expect(row).toMatchObject({ active: "cpu/ref", mixed: true });
  });

  it("has no rows without ranks", () => {
    expect(opRows([])).toEqual([]);
  });
});
