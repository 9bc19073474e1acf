/** An experiment as `ab status` shows it: its phase, what was sampled and what was not, and when it may end. */
import { differences } from "../../experiments/differences.js";
import type { ExperimentSpec } from "../../experiments/index.js";
import { samplesFor } from "../../experiments/statistics/sample-size.js";
import {
  isActive,
  type Run,
  type RunLook,
  runsOf,
  specOfRun,
  storedExperiment,
} from "../../experiments/store/index.js";
import type { ShownExperiment } from "../../view/experiment-lines.js";
import { said } from "../../view/said.js";

type Bucket = RunLook["buckets"][number];

export function shownOf(folder: string, name: string): ShownExperiment {
  const { spec: stored, sha256 } = storedExperiment(folder, name);
  const [run] = runsOf(folder, name);
  const { op, control, candidate } = stored;
  const head = { name, op, control, candidate };
  if (run === undefined)
    return { ...head, phase: "planned", reason: "", run: null, samples: 0, ...EMPTY, drift: [] };
  const used = specOfRun(folder, run).spec;
  const { id, engine, mode, started, heartbeat, verdict, look } = run;
  const buckets = bucketsOf(run, used);
  return {
    ...head,
    ...{ phase: run.phase, reason: run.reason || (look?.reason ?? "") },
    run: { id, engine, mode, started, heartbeat, verdict },
    taken_back:
      run.taken_back === null ? null : { ...run.taken_back, last_sampled_step: look?.last_step ?? 0 },
    samples: look?.samples ?? 0,
    buckets,
    not_sampled: notSampled(run),
    shadow: shadowOf(run, used),
    eta_ms: etaOf(run, used, buckets),
    drift: run.spec_sha256 === sha256 ? [] : driftOf(run, used, stored),
  };
}

const EMPTY = { taken_back: null, buckets: [], not_sampled: [], shadow: null, eta_ms: null };

function bucketsOf(run: Run, spec: ExperimentSpec): ShownExperiment["buckets"] {
  const seen = new Map(run.coverage?.buckets.map((one) => [one.bucket, one.seen]));
  return (run.look?.buckets ?? []).map((one) => {
    const { bucket, result, gate, reason, samples, latency } = one;
    const eta_ms = isActive(run) ? waitOf(one, spec, run.look?.elapsed_ms ?? 0) : null;
    return { bucket, result, gate, reason, samples, seen: seen.get(bucket) ?? 0, latency, eta_ms };
  });
}

/** What the engine serves and no sample is of. */
function notSampled({ look, coverage }: Run): string[] {
  const sampled = new Set(look?.buckets.filter(({ samples }) => samples > 0).map(({ bucket }) => bucket));
  return (coverage?.buckets ?? []).filter(({ bucket }) => !sampled.has(bucket)).map(({ bucket }) => bucket);
}

function shadowOf({ coverage, look }: Run, { sampling }: ExperimentSpec): ShownExperiment["shadow"] {
  if (coverage === null || look === null || look.elapsed_ms <= 0) return null;
  const { took_ms, left_out } = coverage;
  return { took_ms, share_of_time: took_ms / look.elapsed_ms, budget: sampling.budget, left_out };
}

/** How long it takes, at the rate so far, until an equal candidate passes in nine of ten runs. */
function waitOf(
  { alpha, samples, latency, result }: Bucket,
  spec: ExperimentSpec,
  elapsedMs: number,
): number | null {
  if (result === "pass") return 0;
  const margin = spec.analysis.metrics.find(({ name }) => name === "latency")?.non_inferior;
  if (margin === undefined || latency === null || alpha === null || samples === 0) return null;
  const plan = { alpha, spread: latency.spread, warmup: spec.sampling.warmup };
  const needed = samplesFor(plan, Math.log1p(margin));
  if (needed === undefined || needed > spec.sampling.most_of_bucket) return null;
  return Math.max(0, needed - samples) * (elapsedMs / samples);
}

/** The slowest bucket decides; where one says nothing, nobody knows. */
function etaOf(run: Run, { buckets }: ExperimentSpec, seen: ShownExperiment["buckets"]): number | null {
  const isOpen =
    isActive(run) && seen.length > 0 && buckets.every((name) => seen.some(({ bucket }) => bucket === name));
  const waits = seen.map(({ eta_ms }) => eta_ms);
  return isOpen && !waits.includes(null) ? Math.max(...waits.map(Number)) : null;
}

function driftOf(run: Run, used: ExperimentSpec, stored: ExperimentSpec): string[] {
  const verb = isActive(run) ? "uses" : "used";
  const changed = differences(used, stored).map(
    ({ path, one, other }) => `${path} is ${said(other)}, run ${run.id} ${verb} ${said(one)}`,
  );
  return changed.length > 0 ? changed : [`the file was changed in no field since run ${run.id}`];
}
