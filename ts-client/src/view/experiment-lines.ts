/** Experiments and their runs as lines for people. */
import { age, count, duration } from "./format.js";
import { table } from "./table.js";

interface ShownBucket {
  bucket: string;
  result: string;
  gate: string | null;
  reason: string;
  samples: number;
  seen: number;
  latency: { mean: number; lower: number; upper: number } | null;
  /** Until an equal candidate would pass, in ms; null where nothing says when. */
  eta_ms: number | null;
}

/** What is shown of an experiment. */
export interface ShownExperiment {
  name: string;
  phase: string;
  reason: string;
  op: string;
  control: string;
  candidate: string;
  run: {
    id: string;
    engine: string;
    mode: string;
    started: string;
    heartbeat: string;
    verdict: string | null;
  } | null;
  /** The switch back to control. */
  taken_back: {
    epoch: number;
    step: number;
    /** When its verdict fell. */
    decided?: string | undefined;
    last_sampled_step: number;
  } | null;
  samples: number;
  buckets: readonly ShownBucket[];
  not_sampled: readonly string[];
  shadow: { took_ms: number; share_of_time: number; budget: number; left_out: Record<string, number> } | null;
  eta_ms: number | null;
  drift: readonly string[];
}

const right = true;
const BUCKETS = [
  { head: "bucket" },
  { head: "result" },
  { head: "samples", right },
  { head: "of calls", right },
  { head: "slower by", right },
  { head: "at least", right },
  { head: "at most", right },
  { head: "may pass in", right },
  { head: "why" },
];
const LIST = [
  { head: "experiment" },
  { head: "phase" },
  { head: "op" },
  { head: "candidate" },
  { head: "engine" },
  { head: "samples", right },
  { head: "last sign", right },
  { head: "why" },
];

export function experimentList(all: readonly ShownExperiment[]): string[] {
  if (all.length === 0) return ["no experiment was applied; `opswap ab apply -f FILE` stores one"];
  const rows = all.map((one) => [
    one.name,
    one.phase,
    one.op,
    `${one.candidate} against ${one.control}`,
    one.run?.engine ?? "-",
    count(one.samples),
    one.run === null ? "-" : age(Date.now() - Date.parse(one.run.heartbeat)),
    one.reason,
  ]);
  return table(LIST, rows);
}

export function experimentLines(one: ShownExperiment): string[] {
  const { name, phase, reason, op, control, candidate, run } = one;
  const why = reason === "" ? "" : `: ${reason}`;
  return [
    `${name}: ${op}, ${candidate} against ${control}: ${phase}${why}`,
    ...(run === null ? [] : [runLine(run)]),
    ...(one.taken_back === null ? [] : [takenBackLine(one.taken_back)]),
    ...bucketLines(one),
    ...one.not_sampled.map((bucket) => `  served and not sampled: ${bucket}`),
    ...shadowLine(one),
    ...(one.eta_ms === null ? [] : [`  an equal candidate may pass in ${duration(one.eta_ms * 1e6)}`]),
    ...one.drift.map((line) => `  drift: ${line}`),
  ];
}

function runLine({ id, engine, mode, heartbeat, verdict }: NonNullable<ShownExperiment["run"]>): string {
  const judged = verdict === null ? "" : `; verdict ${verdict}`;
  const sign = age(Date.now() - Date.parse(heartbeat));
  return `  run ${id} on ${engine}, ${mode}; last sign of life ${sign} ago${judged}`;
}

function takenBackLine({
  epoch,
  step,
  last_sampled_step: last,
}: NonNullable<ShownExperiment["taken_back"]>): string {
  return `  control serves again from step ${count(step)}, epoch ${epoch}; the last sample was of step ${count(last)}`;
}

function bucketLines({ buckets }: ShownExperiment): string[] {
  if (buckets.length === 0) return [];
  const rows = buckets.map((one) => [
    one.bucket,
    one.result,
    count(one.samples),
    count(one.seen),
    ...(one.latency === null
      ? ["-", "-", "-"]
      : [one.latency.mean, one.latency.lower, one.latency.upper].map(slower)),
    one.eta_ms === null ? "-" : duration(one.eta_ms * 1e6),
    one.gate === null ? one.reason : `${one.gate}: ${one.reason}`,
  ]);
  return table(BUCKETS, rows);
}

function shadowLine({ shadow }: ShownExperiment): string[] {
  if (shadow === null) return [];
  const { took_ms, share_of_time, budget, left_out } = shadow;
  const told = Object.entries(left_out).filter(([, calls]) => calls > 0);
  const out =
    told.length === 0 ? "" : `; left out ${told.map(([why, n]) => `${count(n)} for ${why}`).join(", ")}`;
  return [
    `  the shadow took ${duration(took_ms * 1e6)}, ${percent(share_of_time)} of all time since its start; at most ${percent(budget)} of the time of steps${out}`,
  ];
}

/** ln(candidate / control) as a share. */
const slower = (log: number | string) => `${(100 * Math.expm1(Number(log))).toFixed(2)}%`;
const percent = (share: number) => `${Number((100 * share).toPrecision(3))}%`;
