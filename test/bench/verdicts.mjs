// How often a verdict is wrong: false alarms of equal kernels whose times depend on each other, and faults that are found.
// Prints JSON. `--runs N` (default 1000) experiments of each kind, `--samples N` (default 10000) in each series, `--seed N`.
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { ar1, bootstrapped, normal, recordAa, uniform } from "./_series.mjs";

const { connectLocal } = await import("../../dist/client/index.js");
const { alphaOfBucket, Judge, Latency, parseSpec } = await import("../../dist/experiments/index.js");

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "1000" },
    samples: { type: "string", default: "10000" },
    seed: { type: "string", default: "2026" },
  },
});
const [runs, samples, seed] = [values.runs, values.samples, values.seed].map(Number);
const MARGIN = Math.log1p(0.01);
const BUCKETS = 50;
const PLANTED = { slowdown: 0.03, spread: 0.05, within: 1000, error: 1e-2, errorWithin: 100 };
/** Calls that take ten times as long, and a candidate that becomes slow only after so many samples. */
const RARE = { share: 0.02, times: 10, ofControl: 0.002, lateFrom: 8000 };
/** As verdict/bucket.ts makes them of the defaults. */
const ALLOWED = { p50: 1.01 * 1.05, p95: 1.01 * 1.1, p99: 1.01 * 1.1, p999: 1.01 * 1.1 };
/** Neighbours that a bootstrap keeps together: far more than depend on each other. */
const BLOCK = 200;
const CONTROL_NS = 1_000_000;
const { spec } = parseSpec(
  "bench",
  "{kind: Experiment, schema: 1, name: bench, op: rms_norm, control: a, candidate: b}",
);

/** @typedef {import("./_series.mjs").Pair} Pair */

/** Whether latency fails, by its mean, a later window or a guard. @param {InstanceType<typeof Latency>} latency */
function isSlower(latency) {
  const bounds = latency.bounds();
  const isMeanSlower = bounds !== undefined && Math.max(bounds.lower, bounds.late ?? bounds.lower) > MARGIN;
  return isMeanSlower || latency.guards().some(({ failed }) => failed);
}

/** The sample at which a bucket's latency fails; infinite where it never does. @param {Iterable<{ control_ns: number, candidate_ns: number, candidate_first: boolean }>} times @param {number} place of the bucket */
function failsAt(times, place) {
  const latency = new Latency(alphaOfBucket(spec.analysis.alpha, place), spec.sampling.warmup, ALLOWED);
  let i = 0;
  for (const one of times) {
    latency.add(one);
    if (++i % 20 === 0 && isSlower(latency)) return i;
  }
  return Number.POSITIVE_INFINITY;
}

/** A ratio without times is spread over both arms, so that of equal kernels neither has the longer tail. @param {Iterable<Pair>} series @param {number} place of the bucket @param {number} shift */
function foundAt(series, place, shift = 0) {
  return failsAt(
    Array.from(series, ({ ratio, candidateFirst, control_ns, candidate_ns }) => ({
      control_ns: control_ns ?? Math.exp(-ratio / 2),
      candidate_ns: Math.exp(shift) * (candidate_ns ?? Math.exp(ratio / 2)),
      candidate_first: candidateFirst,
    })),
    place,
  );
}

/** Times of both arms with rare slow calls. @param {number} run @param {{ control: number, candidate: number, lateSlowdown?: number }} rates */
function* withRareCalls(run, { control, candidate, lateSlowdown = 0 }) {
  const [noise, next] = [normal(seed + 104_729 * run), uniform(seed + 15_485_863 * run)];
  const time = (/** @type {number} */ share, /** @type {number} */ slower) =>
    Math.exp((PLANTED.spread / Math.SQRT2) * noise() + slower) * (next() < share ? RARE.times : 1);
  for (let i = 0; i < samples; i++)
    yield {
      control_ns: time(control, 0),
      candidate_ns: time(candidate, i < RARE.lateFrom ? 0 : lateSlowdown),
      candidate_first: next() < 0.5,
    };
}

/** How many of all runs fail, and after how many samples. @param {{ control: number, candidate: number, lateSlowdown?: number }} rates @param {number} place */
function failures(rates, place = 1) {
  const at = Array.from({ length: runs }, (_, run) => failsAt(withRareCalls(run, rates), place)).sort(
    (a, b) => a - b,
  );
  return {
    failed: at.filter(Number.isFinite).length / runs,
    median: at[runs >> 1],
    p99: at[Math.floor(0.99 * runs)],
  };
}

/** Share of experiments that are rolled back. @param {(run: number) => Iterable<Pair>} seriesOf @param {number} shift */
function rolledBack(seriesOf, shift = 0) {
  let count = 0;
  for (let run = 0; run < runs; run++) if (Number.isFinite(foundAt(seriesOf(run), 1, shift))) count++;
  return count / runs;
}

/** @param {readonly Pair[]} series */
function described(series) {
  const ratios = series.map(({ ratio }) => ratio);
  const sorted = ratios.toSorted((a, b) => a - b);
  const mean = ratios.reduce((sum, value) => sum + value, 0) / ratios.length;
  const from = ratios.map((value) => value - mean);
  const squares = from.reduce((sum, value) => sum + value * value, 0);
  const products = from.reduce((sum, value, i) => sum + value * (from[i - 1] ?? 0), 0);
  const at = (/** @type {number} */ q) => sorted[Math.floor(q * (sorted.length - 1))] ?? 0;
  const spread = Math.sqrt(squares / ratios.length);
  return { median: at(0.5), tenth: at(0.1), ninetieth: at(0.9), spread, neighbours: products / squares };
}

/** Real kernels of the library in this process, each called on one thread's worth of data. */
async function realSeries() {
  const client = await connectLocal();
  const { loadNative } = await import("../../dist/native.js");
  const native = loadNative();
  native.setThreads(1);
  const bf16 = (/** @type {number[]} */ ...shape) =>
    native.tensor(new Uint8Array(2 * shape.reduce((a, b) => a * b)).fill(0x3c), "bfloat16", shape);
  const norm = [bf16(8, 576), bf16(8, 576), bf16(576), 1e-6];
  const matrix = [bf16(8, 576), bf16(8, 576), bf16(576, 576), null];
  const pairs = Math.min(samples, 10_000);
  const kernels = { rms_norm: norm, linear: matrix };
  /** @type {Record<string, Pair[]>} */
  const recorded = {};
  for (const [op, args] of Object.entries(kernels))
    recorded[op] = recordAa(() => native.call(op, args), pairs, seed);
  await client.close();
  return recorded;
}

/** @param {ReturnType<typeof uniform>} next */
const line = (
  /** @type {string} */ bucket,
  /** @type {number} */ i,
  /** @type {number} */ ratio,
  more = {},
) => ({
  kind: "sample",
  bucket,
  rank: 0,
  sequence: i + 1,
  candidate_first: i % 2 === 1,
  control_ns: CONTROL_NS * Math.exp(-ratio / 2),
  candidate_ns: CONTROL_NS * Math.exp(ratio / 2),
  control_status: "OPSWAP_OK",
  candidate_status: "OPSWAP_OK",
  candidate_overran: false,
  floor_worst: 0,
  elements: 4608,
  outside: 0,
  became_nonfinite: 0,
  worst: 0,
  ...more,
});

/** A slowdown in one of fifty buckets, whose place is chosen by seed: found within so many of its samples, and nothing else called slow. */
function plantedSlowdown() {
  let [found, others] = [0, 0];
  const next = uniform(seed);
  for (let run = 0; run < runs; run++) {
    const place = Math.floor(next() * BUCKETS);
    const noise = normal(seed + run);
    const judge = new Judge(spec);
    for (let i = 0; i < PLANTED.within; i++)
      for (let b = 0; b < BUCKETS; b++)
        judge.add(
          line(`T${2 ** b}`, i, PLANTED.spread * noise() + (b === place ? Math.log1p(PLANTED.slowdown) : 0)),
        );
    for (const [b, { result }] of judge.judgement().buckets.entries()) {
      if (result !== "fail") continue;
      if (b === place) found++;
      else others++;
    }
  }
  return { found: found / runs, others_per_run: others / runs };
}

/** The slowest place to find it in is the last. */
function slowestPlace() {
  const at = Array.from({ length: runs }, (_, run) => {
    const series = ar1(seed + 7919 * run, samples, 0, PLANTED.spread);
    return foundAt(series, BUCKETS, Math.log1p(PLANTED.slowdown));
  }).sort((a, b) => a - b);
  const within = at.filter((n) => n <= PLANTED.within).length / runs;
  return { within, median: at[runs >> 1], p99: at[Math.floor(0.99 * runs)] };
}

/** One element of each sample is off by the planted error; it counts where that is beyond bfloat16's tolerance at its value. */
function plantedError() {
  const [atol, rtol] = [1e-3, 1.6e-2];
  let found = 0;
  for (let run = 0; run < runs; run++) {
    const value = normal(seed + 31 * run);
    const judge = new Judge(spec);
    for (let i = 0; i < PLANTED.errorWithin; i++) {
      const worst = PLANTED.error / (atol + rtol * Math.abs(value()));
      judge.add(line("T8 H1024 bfloat16", i, 0, { worst, outside: worst > 1 ? 1 : 0, differing: 1 }));
    }
    if (judge.judgement().result === "fail") found++;
  }
  return found / runs;
}

const before = loadavg()[0];
const start = performance.now();
const real = await realSeries();
const aa = Object.entries(real).map(([op, series]) => [
  op,
  {
    ...described(series),
    rolled_back: rolledBack((run) => bootstrapped(seed + run, series, samples, BLOCK)),
  },
]);
const result = {
  runs,
  samples,
  seed,
  aa_real: Object.fromEntries(aa),
  aa_ar09: rolledBack((run) => ar1(seed + run, samples, 0.9, 0.05)),
  // Not asked for, but the hardest case that may not fail: a candidate exactly at the margin.
  at_margin_ar09: rolledBack((run) => ar1(seed + run, samples, 0.9, 0.05), MARGIN),
  slowdown_in_one_of_50: plantedSlowdown(),
  slowdown_in_the_50th: slowestPlace(),
  // One call in 50 is ten times as slow, of which the mean, its outliers drawn in, sees nothing.
  rare_slow_calls: failures({ control: 0, candidate: RARE.share }),
  rare_slow_calls_in_the_50th: failures({ control: RARE.ofControl, candidate: RARE.share }, BUCKETS),
  aa_rare_slow_calls: failures({ control: RARE.share, candidate: RARE.share }),
  slow_after_8000: failures({ control: 0, candidate: 0, lateSlowdown: Math.log1p(PLANTED.slowdown) }),
  error: plantedError(),
  seconds: (performance.now() - start) / 1000,
  load: { before, after: loadavg()[0] },
};
console.log(JSON.stringify(result, null, 2));
