/** Whether an engine died under a candidate: what its state file says, whether it has started again or not. */
import { existsSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import * as z from "zod/mini";
import { discover } from "../../client/discovery.js";
import { runtimeDirs } from "../../client/folders.js";
import { startTime } from "../../client/process.js";
import type { ExperimentSpec } from "../spec/experiment.js";
import type { Run } from "../store/runs.js";

/** As ipc/state.py bounds it. */
const MOST_BYTES = 4 << 20;
/** How the engine's own bar begins: ipc/memory.py. */
const DIED = "the engine died while it was ";

const byOp = z.record(z.string(), z.string());
const state = z.object({
  records: z.array(
    z.object({ trial: byOp, shadowed: z._default(byOp, {}), barred: z.record(z.string(), byOp) }),
  ),
});
type EngineRecord = z.infer<typeof state>["records"][number];

/** Why, in words; undefined where the engine of the run lives, was stopped, or died of something else. */
export function diedUnder(run: Run, { op, candidate }: ExperimentSpec): string | undefined {
  const { engine, engine_process: process } = run;
  if (!process || startTime(process.pid) === process.start_time) return undefined;
  const records = recordsOf(engine);
  const bars = records.map(({ barred }) => barred[op]?.[candidate]);
  const barred = bars.find((reason) => reason?.startsWith(DIED));
  if (barred !== undefined) return barred;
  // One that runs again has taken up what it died under; what is on trial now is its own.
  if (isUp(engine)) return undefined;
  const [last] = records;
  if (last?.trial[op] === candidate) return `${DIED}on trial`;
  return last?.shadowed[op] === candidate ? `${DIED}in a shadow` : undefined;
}

const isUp = (engine: string) =>
  discover().some(({ name, state: is }) => name === engine && (is === "live" || is === "hung"));

/** What is kept of each model and build, the newest first; none where that cannot be read. */
function recordsOf(engine: string): EngineRecord[] {
  for (const folder of runtimeDirs()) {
    const file = path.join(folder, `${engine}.state`);
    if (!existsSync(file) || statSync(file).size > MOST_BYTES) continue;
    try {
      const parsed = state.safeParse(JSON.parse(readFileSync(file, "utf8")));
      if (parsed.success) return parsed.data.records;
    } catch {
      // As one that is not there: the engine says of it what is wrong when it starts.
    }
  }
  return [];
}
