/** Runs of experiments: a folder each, with the spec that it uses, its samples, its log, and how it stands. */
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { z } from "zod";
import { startTime } from "../../client/process.js";
import type { ExperimentSpec } from "../spec/experiment.js";
import { parseSpec, type ReadSpec } from "../spec/read-file.js";
import { RESULTS } from "../verdict/bucket.js";
import { readJson, sha256, unreadable, writeWhole } from "./files.js";
import { NAME, type StoredExperiment } from "./specs.js";

const ID = /^\d{8}T\d{6}-[0-9a-f]{4}$/;

/** planned is an experiment without a run; lost is a run whose controller or engine is gone. */
export const PHASES = [
  ...(["starting", "quarantine", "shadow", "guarded"] as const),
  ...(["passed", "failed", "inconclusive", "stopped", "lost", "promoted"] as const),
] as const;
export type Phase = (typeof PHASES)[number];
const ACTIVE: ReadonlySet<Phase> = new Set<Phase>(["starting", "quarantine", "shadow", "guarded"]);

const count = z.int().min(0);
const time = z.iso.datetime();

const bucketLook = z.object({
  bucket: z.string(),
  result: z.enum(RESULTS),
  gate: z.string().nullable(),
  reason: z.string(),
  alpha: z.number().nullable(),
  samples: count,
  latency: z
    .object({ mean: z.number(), spread: z.number(), lower: z.number(), upper: z.number() })
    .nullable(),
});

const look = z.object({
  time,
  elapsed_ms: z.number(),
  samples: count,
  last_step: count,
  result: z.enum(RESULTS),
  reason: z.string(),
  lost: count,
  buckets: z.array(bucketLook),
});

/** What the engine's shadow has seen, over all ranks. */
const coverage = z.object({
  took_ms: z.number(),
  buckets: z.array(z.object({ bucket: z.string(), seen: count, chosen: count })),
  left_out: z.record(z.string(), count),
});

const processId = z.strictObject({ pid: z.int().min(1), start_time: z.string() });

const run = z.strictObject({
  kind: z.literal("Run"),
  schema: z.literal(1),
  id: z.string().regex(ID),
  /** Which run of its experiment it is: times are of clocks that somebody may set. */
  number: z.int().min(1),
  experiment: z.string(),
  engine: z.string(),
  mode: z.enum(["shadow", "guarded"]),
  spec_sha256: z.string(),
  who: z.string(),
  started: time,
  ended: time.nullable(),
  /** Of the controller: its pid and start time name it for good. */
  controller: processId.nullable(),
  /** Of the agent of its engine, so that it is known later whether that died; not there before the run began. */
  engine_process: processId.nullish(),
  heartbeat: time,
  phase: z.enum(PHASES),
  reason: z.string(),
  salt: count,
  look: look.nullable(),
  coverage: coverage.nullable(),
  verdict: z.string().nullable(),
  /** The switch back to control: the first step that ran with it again. */
  taken_back: z
    .strictObject({
      ...{ epoch: count, step: count },
      /** When the verdict fell that it follows from; runs of before this was kept have none. */
      decided: time.optional(),
    })
    .nullable(),
});

export type Run = z.infer<typeof run>;
export type RunLook = z.infer<typeof look>;
export type Coverage = z.infer<typeof coverage>;

/** What a new run is of. */
export interface NewRun {
  engine: string;
  mode: Run["mode"];
  who: string;
}

/** Makes the folder of a run that starts now; the spec that is stored now is the one that it uses to its end. */
export function createRun(folder: string, stored: StoredExperiment, made: NewRun): Run {
  const now = new Date().toISOString();
  const id = `${now.slice(0, 19).replace(/[-:]/g, "")}-${randomBytes(2).toString("hex")}`;
  const { name } = stored.spec;
  const number = (runsOf(folder, name)[0]?.number ?? 0) + 1;
  const fresh: Run = {
    ...{ kind: "Run", schema: 1, id, number, experiment: name, ...made },
    ...{ spec_sha256: stored.sha256, started: now, ended: null, controller: null, heartbeat: now },
    ...{ phase: "starting", reason: "", salt: randomBytes(6).readUIntBE(0, 6) },
    ...{ look: null, coverage: null, verdict: null, taken_back: null },
  };
  writeWhole(inRun(folder, fresh, "spec.yaml"), stored.text);
  writeRun(folder, fresh);
  return fresh;
}

/** The path of a file of a run. */
export function inRun(
  folder: string,
  { experiment, id }: Pick<Run, "experiment" | "id">,
  file: string,
): string {
  return path.join(folder, experiment, "runs", id, file);
}

export function writeRun(folder: string, written: Run): void {
  writeWhole(inRun(folder, written, "run.json"), `${JSON.stringify(written, null, 2)}\n`);
}

/** One run; undefined where there is none. */
export function readRun(folder: string, experiment: string, id: string): Run | undefined {
  const file = inRun(folder, { experiment, id }, "run.json");
  const found = readJson(file, run);
  if (found && (found.experiment !== experiment || found.id !== id))
    throw unreadable(file, `it is of run ${found.id} of ${found.experiment}`);
  return found && standing({ ...found, controller: found.controller ?? launched(folder, found) });
}

/** The process that was started as the controller of a run, which may not have come to say so itself. */
export function writeLaunched(folder: string, of: Run, pid: number): void {
  const began = { pid, start_time: startTime(pid) ?? "" };
  writeWhole(inRun(folder, of, LAUNCHED), `${JSON.stringify(began)}\n`);
}

const launched = (folder: string, of: Run) => readJson(inRun(folder, of, LAUNCHED), processId) ?? null;

/** All runs of an experiment, the newest first. */
export function runsOf(folder: string, experiment: string): Run[] {
  const place = path.join(folder, experiment, "runs");
  if (!NAME.test(experiment) || !existsSync(place)) return [];
  const ids = readdirSync(place).filter((id) => ID.test(id));
  const found = ids.flatMap((id) => readRun(folder, experiment, id) ?? []);
  return found.sort((a, b) => b.number - a.number);
}

/** The spec that a run uses. */
export function specOfRun(folder: string, of: Run): ReadSpec & { spec: ExperimentSpec } {
  const file = inRun(folder, of, "spec.yaml");
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  if (sha256(text) !== of.spec_sha256)
    throw unreadable(file, "its digest is not the one that the run began with");
  const read = parseSpec(file, text);
  const { spec } = read;
  if (spec.kind !== "Experiment") throw unreadable(file, `it is a ${spec.kind}`);
  return { ...read, spec };
}

export const isActive = ({ phase }: Pick<Run, "phase">): boolean => ACTIVE.has(phase);

/** A run is given so long until a process is its controller. */
const LAUNCHES_MS = 15_000;
const LAUNCHED = "controller.json";

/** A run whose controller is gone is lost, whatever was written last. */
function standing(read: Run): Run {
  if (!isActive(read)) return read;
  const { controller, phase } = read;
  if (controller === null) {
    // A clock that was set back makes none new for hours.
    const isNew = Math.abs(Date.now() - Date.parse(read.started)) < LAUNCHES_MS;
    return isNew ? read : { ...read, phase: "lost", reason: "its controller did not begin" };
  }
  if (startTime(controller.pid) === controller.start_time) return read;
  return {
    ...read,
    phase: "lost",
    reason: `its controller, process ${controller.pid}, is gone; it was in phase ${phase}`,
  };
}
