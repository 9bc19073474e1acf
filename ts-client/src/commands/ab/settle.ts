/** A run that was lost because its engine died under the candidate has failed, and gets its verdict from whoever looks first. */
import { appendFileSync, readFileSync, truncateSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { startTime } from "../../client/process.js";
import { diedUnder } from "../../experiments/live/engine-died.js";
import { type SafetyEvent, sampleText } from "../../experiments/samples.js";
import { alone, inRun, type Run, runsOf, specOfRun, writeRun } from "../../experiments/store/index.js";
import { asRefusal } from "../../types/refusal.js";
import type { Io } from "../context.js";
import { storedVerdict, tellVerdict } from "./run-verdict.js";

const ENDS_MS = 10_000;
const LOOK_MS = 100;

/** Gives the engine of a run time to end: what it died under is known then. */
export async function hasEnded({ engine_process: process }: Run): Promise<void> {
  const end = performance.now() + ENDS_MS;
  while (process && startTime(process.pid) === process.start_time && performance.now() < end)
    await sleep(LOOK_MS);
}

/** Settles the newest run of an experiment, if there is anything to settle. Not to be called in `alone`. */
export async function settle(io: Io, folder: string, name: string): Promise<void> {
  if (diedOf(folder, runsOf(folder, name)[0]) === undefined) return;
  await alone(folder, async () => {
    const [run] = runsOf(folder, name);
    const why = diedOf(folder, run);
    if (run !== undefined && why !== undefined) await fail(io, folder, run, why);
  });
}

function diedOf(folder: string, run: Run | undefined): string | undefined {
  if (run?.phase !== "lost" || run.verdict !== null) return undefined;
  return diedUnder(run, specOfRun(folder, run).spec);
}

async function fail(io: Io, folder: string, run: Run, why: string): Promise<void> {
  const failed: Run = { ...run, phase: "failed", reason: `safety: ${why}`, ended: new Date().toISOString() };
  try {
    addCrash(inRun(folder, run, "samples.jsonl"), run, why);
    const { verdict } = storedVerdict(folder, run);
    writeRun(folder, { ...failed, verdict: verdict.id });
    await tellVerdict(io, folder, run, verdict);
  } catch (thrown) {
    // It has failed all the same: a run without samples has nothing to derive a verdict from.
    writeRun(folder, { ...failed, reason: `${failed.reason}; ${asRefusal(thrown).message}` });
  }
}

/** Behind what was sampled; half a line, of a controller that was killed as it wrote, goes. */
function addCrash(file: string, { look, coverage }: Run, message: string): void {
  const whole = readFileSync(file).lastIndexOf("\n") + 1;
  truncateSync(file, whole);
  const [seen] = [...(look?.buckets ?? []), ...(coverage?.buckets ?? [])];
  const crash: SafetyEvent = {
    ...{ kind: "event", event: "crash", message },
    bucket: seen?.bucket ?? "of no known bucket",
  };
  appendFileSync(file, sampleText(crash));
}
