/** The statistics of verdicts against an independent implementation, and what they promise on small simulations. */
import { execFileSync } from "node:child_process";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { BatchMeans } from "../../ts-client/src/experiments/statistics/batch-means.js";
import { alphaOfBucket, halfWidth } from "../../ts-client/src/experiments/statistics/confidence-sequence.js";
import { Latency } from "../../ts-client/src/experiments/statistics/latency.js";
import {
  blockSpread,
  detectable,
  samplesFor,
} from "../../ts-client/src/experiments/statistics/sample-size.js";
import { pythonEnvironment } from "../../ts-client/src/python-environment.js";
import { ar1, normal, type Pair, uniform } from "../bench/_series.mjs";

const ALPHA = alphaOfBucket(0.05, 1);
const MARGIN = Math.log1p(0.01);

function latencyOf(pairs: readonly Pair[], alpha: number, warmup: number): Latency {
  const latency = new Latency(alpha, warmup);
  for (const { ratio, candidateFirst } of pairs)
    latency.add({ control_ns: 1, candidate_ns: Math.exp(ratio), candidate_first: candidateFirst });
  return latency;
}

/** Series of many lengths, spreads, effects, dependences, gains of the second, and outliers. */
function randomSeries(seed: number) {
  const [next, noise] = [uniform(seed), normal(seed + 1)];
  const length = 50 + Math.floor(next() * 1500);
  const [spread, effect, gain, phi] = [0.2 * next(), 0.1 * next() - 0.05, 0.3 * next(), 0.95 * next()];
  const isAlternating = next() < 0.5;
  const pairs = ar1(seed + 2, length, phi, spread).map(({ ratio, candidateFirst }) => {
    const first = isAlternating ? candidateFirst : next() < 0.5;
    const outlier = next() < 0.01 ? 3 * noise() : 0;
    return { ratio: ratio + effect + outlier + (first ? gain : -gain), candidateFirst: first };
  });
  return { pairs, alpha: 0.001 + 0.2 * next(), warmup: Math.floor(next() * 40) };
}

describe("bounds of latency", () => {
  it("are those of the implementation in Python, on 300 random series", () => {
    const series = Array.from({ length: 300 }, (_, i) => randomSeries(1000 * i));
    const asked = series.map(({ pairs, alpha, warmup }) => ({
      ratios: pairs.map(({ ratio }) => ratio),
      candidate_first: pairs.map(({ candidateFirst }) => candidateFirst),
      alpha,
      warmup,
    }));
    const script = path.resolve(import.meta.dirname, "reference.py");
    const host = pythonEnvironment();
    const answer = execFileSync(host.python, [script], {
      env: host.env,
      input: JSON.stringify({ series: asked }),
      maxBuffer: 1 << 26,
    });
    const expected = JSON.parse(answer.toString());
    let compared = 0;
    for (const [i, { pairs, alpha, warmup }] of series.entries()) {
      const found = latencyOf(pairs, alpha, warmup).bounds();
      const [ours, theirs] = [found ?? null, expected[i]];
      if (theirs === null) {
        expect(ours).toBeNull();
        continue;
      }
      compared++;
      for (const key of Object.keys(theirs))
        expect(ours?.[key as "mean"], `${key} of series ${i}`).toBeCloseTo(theirs[key], 9);
    }
    expect(compared).toBeGreaterThan(200);
  });

  it("have no share in what the order does", () => {
    const noise = normal(3);
    const pairs = Array.from({ length: 1000 }, (_, i) => ({
      ratio: 0.001 * noise() + (i % 2 === 1 ? 0.29 : -0.29),
      candidateFirst: i % 2 === 1,
    }));
    const bounds = latencyOf(pairs, ALPHA, 20).bounds();
    expect(bounds?.mean).toBeCloseTo(0, 3);
    expect(bounds?.order).toBeCloseTo(0.29, 3);
    expect(bounds?.upper).toBeLessThan(MARGIN);
  });

  it("are not there while samples of one order wait for the other", () => {
    const pairs = ar1(1, 1000, 0, 0.05).map(({ ratio }) => ({ ratio, candidateFirst: false }));
    expect(latencyOf(pairs, ALPHA, 0).bounds()).toBeUndefined();
  });

  it("are not moved by outliers on one side", () => {
    const pairs = ar1(5, 4000, 0, 0.02).map((pair, i) => (i % 97 === 0 ? { ...pair, ratio: 8 } : pair));
    expect(latencyOf(pairs, ALPHA, 20).bounds()?.lower).toBeLessThan(MARGIN);
    const mean = pairs.reduce((sum, { ratio }) => sum + ratio, 0) / pairs.length;
    expect(mean).toBeGreaterThan(5 * MARGIN);
  });

  it("of times without any spread are the times", () => {
    const pairs = Array.from({ length: 400 }, (_, i) => ({
      ratio: Math.log(1.03),
      candidateFirst: i % 2 === 1,
    }));
    const bounds = latencyOf(pairs, ALPHA, 0).bounds();
    expect(bounds?.lower).toBeCloseTo(Math.log(1.03), 12);
    expect(bounds?.upper).toBeCloseTo(Math.log(1.03), 12);
  });
});

describe("a small version of `npm run bench -- verdicts`", () => {
  const isSlower = (pairs: readonly Pair[], place: number) => {
    const bounds = latencyOf(pairs, alphaOfBucket(0.05, place), 20).bounds();
    return (bounds?.lower ?? 0) > MARGIN;
  };

  it("rolls back at most 5% of equal kernels whose times depend on each other", () => {
    const runs = 60;
    const count = Array.from({ length: runs }, (_, i) => isSlower(ar1(i, 6000, 0.9, 0.05), 1)).filter(
      Boolean,
    );
    expect(count.length / runs).toBeLessThanOrEqual(0.05);
  });

  it("finds a slowdown of 3% in the fiftieth bucket within 1,000 samples", () => {
    const slow = (seed: number) =>
      ar1(seed, 1000, 0, 0.05).map((pair) => ({ ...pair, ratio: pair.ratio + Math.log1p(0.03) }));
    const runs = 200;
    const count = Array.from({ length: runs }, (_, i) => isSlower(slow(7 * i), 50)).filter(Boolean);
    expect(count.length / runs).toBeGreaterThanOrEqual(0.99);
  });
});

describe("the long-run variance", () => {
  it("is near that of an AR(0.9) series, of which neighbours show a nineteenth", () => {
    const batches = new BatchMeans();
    for (const { ratio } of ar1(11, 40_000, 0.9, 1)) batches.add(ratio);
    const variance = batches.longRunVariance() ?? 0;
    // (1 + 0.9) / (1 - 0.9) = 19
    expect(variance).toBeGreaterThan(14);
    expect(variance).toBeLessThan(60);
  });

  it("waits for sixteen values", () => {
    const batches = new BatchMeans();
    for (let i = 0; i < 15; i++) batches.add(i);
    expect(batches.longRunVariance()).toBeUndefined();
    batches.add(15);
    expect(batches.longRunVariance()).toBeGreaterThan(0);
  });
});

describe("spending", () => {
  it("stays below alpha, however many buckets there are", () => {
    const parts = Array.from({ length: 100_000 }, (_, i) => alphaOfBucket(0.05, i + 1));
    const spent = parts.reduce((sum, part) => sum + part, 0);
    expect(spent).toBeLessThan(0.05);
    expect(spent).toBeGreaterThan(0.0499);
  });
});

describe("sample sizes", () => {
  const plan = { alpha: ALPHA, spread: blockSpread(0.05), warmup: 20 };

  it("and detectable slowdowns are each other's inverse", () => {
    const wide = { ...plan, spread: blockSpread(0.2) };
    const samples = samplesFor(wide, Math.log(1.03 / 1.01)) ?? 0;
    expect(detectable(wide, samples)).toBeLessThanOrEqual(Math.log(1.03 / 1.01));
    expect(detectable(wide, samples - 2)).toBeGreaterThan(Math.log(1.03 / 1.01));
  });

  it.each([1, 50])("are enough in nine of ten experiments, in the bucket in place %i", (place) => {
    const alpha = alphaOfBucket(0.05, place);
    const samples = samplesFor({ alpha, spread: blockSpread(0.2), warmup: 20 }, Math.log(1.03 / 1.01)) ?? 0;
    const runs = 200;
    const found = Array.from({ length: runs }, (_, i) => {
      const pairs = ar1(13 * i, samples, 0, 0.2).map((p) => ({ ...p, ratio: p.ratio + Math.log(1.03) }));
      return (latencyOf(pairs, alpha, 20).bounds()?.lower ?? 0) > MARGIN;
    });
    expect(found.filter(Boolean).length / runs).toBeGreaterThanOrEqual(0.88);
  });

  it("are undefined where no number is enough", () => {
    expect(samplesFor({ ...plan, spread: 1e6 }, 1e-6)).toBeUndefined();
    expect(detectable(plan, 100)).toBeUndefined();
  });

  it("narrow with more blocks and widen with less alpha", () => {
    expect(halfWidth(200, 1, 0.05)).toBeLessThan(halfWidth(100, 1, 0.05));
    expect(halfWidth(200, 1, 0.001)).toBeGreaterThan(halfWidth(200, 1, 0.05));
  });
});
