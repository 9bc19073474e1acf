/** `opswap ab stop`. */
import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { withTarget } from "../../client/target.js";
import type { OpswapClient } from "../../client/types.js";
import {
  experimentsFolder,
  isActive,
  type Run,
  readRun,
  runsOf,
  specOfRun,
  storedExperiment,
  writeRun,
} from "../../experiments/store/index.js";
import { OpswapError } from "../../types/errors.js";
import { experimentLines } from "../../view/experiment-lines.js";
import { type Context, EXIT, examples, type Io, show } from "../context.js";
import { recorded } from "../recorded.js";
import { Guard } from "./guard.js";
import { noRun } from "./no-run.js";
import { settle } from "./settle.js";
import { shownOf } from "./shown.js";

/** A take-back waits for another switch, and for slow ranks. */
const ENDS_MS = 120_000;
const LOOK_MS = 100;

export function stopCommand(context: Context): Command {
  return new Command("stop")
    .description(
      "end the sampling of an experiment, take a guarded candidate back, and keep the verdict so far",
    )
    .argument("<name>", "the experiment")
    .option("--json", "print JSON")
    .addHelpText("after", examples("ab stop rms-norm-cpu"))
    .action(async (name: string, { json }: { json?: boolean }) => {
      const folder = experimentsFolder();
      await recorded(context.io, { action: `ab stop ${name}` }, async (told) => {
        await settle(context.io, folder, name);
        const [run] = runsOf(folder, name);
        if (run === undefined) throw storedExperiment(folder, name) && noRun(name);
        Object.assign(told, { engine: run.engine, why: `it was in phase ${run.phase}` });
        const ended = await stopRun(context.io, folder, run);
        if (ended.verdict !== null) Object.assign(told, { verdict: ended.verdict });
      });
      show(context.io, json, shownOf(folder, name), experimentLines);
      context.exitCode = EXIT.ok;
    });
}

/** What a run whose controller was killed left on the engine where the next is to begin. */
export async function clearLost(io: Io, folder: string, name: string, engine: string): Promise<void> {
  const [run] = runsOf(folder, name);
  if (run?.phase === "lost" && run.engine === engine) await stopRun(io, folder, run);
}

/** Ends a run, whatever became of its controller: afterwards neither a shadow nor a lease of it is left. */
export async function stopRun(io: Io, folder: string, run: Run): Promise<Run> {
  const found = isActive(run) ? await endController(folder, run) : run;
  if (found.phase === "lost" || found.look === null || mayServe(found))
    await withTarget({ engine: found.engine }, (client) => clearAway(io, client, folder, found));
  if (found.phase !== "lost") return found;
  const now = new Date().toISOString();
  const stopped: Run = { ...found, phase: "stopped", reason: `stopped; ${found.reason}`, ended: now };
  writeRun(folder, stopped);
  return stopped;
}

/** A candidate that passed, or whose failure is paused, serves on under its last lease. */
const mayServe = ({ mode, phase }: Run) => mode === "guarded" && (phase === "passed" || phase === "failed");

async function endController(folder: string, run: Run): Promise<Run> {
  const { experiment, id } = run;
  let isTold = false;
  for (const end = performance.now() + ENDS_MS; performance.now() < end; await sleep(LOOK_MS)) {
    const now = readRun(folder, experiment, id);
    if (now !== undefined && !isActive(now)) return now;
    // One that has just been started has not written yet who it is.
    if (!isTold && now?.controller) isTold = endProcess(now.controller.pid);
  }
  throw new OpswapError(
    "OPSWAP_E_TIMEOUT",
    `${experiment}: its controller has not ended after ${ENDS_MS / 1000} s`,
    {
      remedy: `\`opswap ab status ${experiment}\``,
    },
  );
}

/** One that has ended meanwhile is told of by the next look. */
function endProcess(pid: number): boolean {
  try {
    return process.kill(pid, "SIGTERM");
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "ESRCH") throw thrown;
    return true;
  }
}

/** What a run may have left on its engine. */
async function clearAway(io: Io, client: OpswapClient, folder: string, run: Run): Promise<void> {
  const { spec } = specOfRun(folder, run);
  await client.ask("shadow_stop", { op: spec.op, salt: run.salt }).catch((thrown: unknown) => {
    // There never was one.
    if (!(thrown instanceof OpswapError) || thrown.code !== "OPSWAP_E_ARGUMENT") throw thrown;
  });
  await new Guard(io, client, spec).takeBackLeft("the experiment was stopped");
}
