import { describe, expect, it } from "vitest";
import type { ImplStats, RankOps } from "../generated/messages.js";
import { bucketLines } from "./bucket-lines.js";
import { age, count, duration } from "./format.js";
import { opRows, rankRows } from "./op-rows.js";
import { table, toWidth } from "./table.js";

function stats(name: string, calls: number, mean: number, p99: number): ImplStats {
  const times = { timed: calls / 2, mean_ns: mean, p50_ns: mean - 10, p99_ns: p99 };
  return { name, calls, errors: 0, ...times, buckets: [], beyond_buckets: 0 };
}

function rank(id: number, active: string, calls: number, mean: number, epoch = 1): RankOps {
  const impls = [stats("ref", 2, 900, 950), stats("cpu", calls, mean, mean * 2)];
  return { rank: id, step: 5, epoch, window_s: 20, ops: [{ op: "rms_norm", active, impls }] };
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

describe("times by shape bucket", () => {
  const times = { timed: 4, mean_ns: 1000, p50_ns: 900, p99_ns: 2000 };
  const impl = { ...stats("cpu", 8, 1000, 2000), buckets: [{ bucket: "T16 H1024 bfloat16", ...times }] };
  const ranks = (beyond_buckets: number): RankOps[] => [
    {
      ...rank(3, "cpu", 8, 100),
      ops: [{ op: "rms_norm", active: "cpu", impls: [{ ...impl, beyond_buckets }] }],
    },
  ];

  it("has a line per implementation and bucket, and one for what had no place", () => {
    const [, line, more] = bucketLines(ranks(7)).map((text) => text.split(/ {2,}/));
    expect(line).toEqual(["rms_norm", "3", "cpu", "T16 H1024 bfloat16", "4", "1.00 us", "900 ns", "2.00 us"]);
    expect(more).toEqual(["rms_norm", "3", "cpu", "more buckets", "7", "-", "-", "-"]);
    expect(bucketLines(ranks(0))).toHaveLength(2);
  });

  it("says that no call was timed", () => {
    expect(bucketLines([rank(0, "cpu", 0, 0)])).toEqual(["no call was timed in the last minute"]);
  });
});

describe("rows", () => {
  it("has one row per op and rank, with the active implementation's times", () => {
    const [row] = rankRows([rank(1, "cpu", 10, 100)]);
    expect(row).toMatchObject({ op: "rms_norm", rank: 1, active: "cpu", calls: 12, meanNs: 100, p50Ns: 90 });
  });

  it("merges ranks: calls add up, means are weighted, the slowest p99 and the lowest epoch count", () => {
    const [row] = opRows([rank(0, "cpu", 8, 100, 2), rank(1, "cpu", 28, 200, 1)]);
    expect(row).toMatchObject({ rank: null, active: "cpu", mixed: false, calls: 40, epoch: 1 });
    expect(row).toMatchObject({ timed: 18, p50Ns: 190, p99Ns: 400 });
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
