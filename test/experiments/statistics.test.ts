/** The statistics of verdicts against an independent implementation, and what they promise on small simulations. */
import { execFileSync } from "node:child_process";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { BatchMeans } from "../../ts-client/src/experiments/statistics/batch-means.js";
import { alphaOfBucket, halfWidth } from "../../ts-client/src/experiments/statistics/confidence-sequence.js";
import { Latency, type PairedTimes } from "../../ts-client/src/experiments/statistics/latency.js";
import {
  blockSpread,
  detectable,
  samplesFor,
} from "../../ts-client/src/experiments/statistics/sample-size.js";
import { pythonEnvironment } from "../../ts-client/src/python-environment.js";
import { ar1, normal, type Pair, uniform } from "../bench/_series.mjs";

const ALPHA = alphaOfBucket(0.05, 1);
const MARGIN = Math.log1p(0.01);

const ALLOWED = { p50: 1.0605, p95: 1.111, p99: 1.111, p999: 1.111 };

function latencyOf(pairs: readonly Pair[], alpha: number, warmup: number): Latency {
  const times = pairs.map(({ ratio, candidateFirst }) => ({
    control_ns: 1,
    candidate_ns: Math.exp(ratio),
    candidate_first: candidateFirst,
  }));
  return latencyOfTimes(times, alpha, warmup);
}

function latencyOfTimes(times: readonly PairedTimes[], alpha: number, warmup: number): Latency {
  const latency = new Latency(alpha, warmup, ALLOWED);
  for (const one of times) latency.add(one);
  return latency;
}

/** Series of many lengths, spreads, effects, dependences, gains of the second, and outliers. */
function randomSeries(seed: number) {
  const [next, noise] = [uniform(seed), normal(seed + 1)];
  const length = 50 + Math.floor(next() * 1500) + (seed % 30_000 === 0 ? 3000 : 0);
  const [spread, effect, gain, phi] = [0.2 * next(), 0.1 * next() - 0.05, 0.3 * next(), 0.95 * next()];
  const isAlternating = next() < 0.5;
  // Control's times tick coarsely in some, so that many are equal.
  const [tick, wild] = [next() < 0.5 ? 1 : 40, 0.05 * next()];
  const times = ar1(seed + 2, length, phi, spread).map(({ ratio, candidateFirst }) => {
    const first = isAlternating ? candidateFirst : next() < 0.5;
    const outlier = next() < wild ? Math.abs(3 * noise()) : 0;
    const control_ns = tick * Math.ceil((1000 * Math.exp(0.1 * noise())) / tick);
    const difference = ratio + effect + outlier + (first ? gain : -gain);
    return { control_ns, candidate_ns: control_ns * Math.exp(difference), candidate_first: first };
  });
  return { times, alpha: 0.001 + 0.2 * next(), warmup: Math.floor(next() * 40) };
}

describe("bounds of latency", () => {
  it("are those of the implementation in Python, on 300 random series", () => {
    const series = Array.from({ length: 300 }, (_, i) => randomSeries(1000 * i));
    const asked = series.map(({ times, alpha, warmup }) => ({
      control: times.map(({ control_ns }) => control_ns),
      candidate: times.map(({ candidate_ns }) => candidate_ns),
      candidate_first: times.map(({ candidate_first }) => candidate_first),
      alpha,
      warmup,
      allowances: ALLOWED,
    }));
    const script = path.resolve(import.meta.dirname, "reference.py");
    const host = pythonEnvironment();
    const answer = execFileSync(host.python, [script], {
      env: host.env,
      input: JSON.stringify({ series: asked }),
      maxBuffer: 1 << 26,
    });
    const expected = JSON.parse(answer.toString());
    const compared = { bounds: 0, late: 0, failed: 0 };
    for (const [i, { times, alpha, warmup }] of series.entries()) {
      const found = latencyOfTimes(times, alpha, warmup);
      expect(found.guards(), `series ${i}`).toEqual(expected[i].guards);
      compared.failed += found.guards().filter(({ failed }) => failed).length;
      const [ours, theirs] = [found.bounds() ?? null, expected[i].bounds];
      if (theirs === null) {
        expect(ours).toBeNull();
        continue;
      }
      compared.bounds++;
      if (theirs.late === null) expect(ours?.late).toBeNull();
      else compared.late++;
      for (const key of Object.keys(theirs).filter((name) => theirs[name] !== null))
        expect(ours?.[key as "mean"], `${key} of series ${i}`).toBeCloseTo(theirs[key], 9);
    }
    expect(compared.bounds).toBeGreaterThan(200);
    expect(compared.late).toBeGreaterThan(5);
    expect(compared.failed).toBeGreaterThan(20);
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
