/** `opswap ab start`: a run in a process of its own, which outlives this one. */
import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Command, Option } from "commander";
import { withTarget } from "../../client/target.js";
import {
  alone,
  createRun,
  experimentsFolder,
  inRun,
  type Run,
  readRun,
  storedExperiment,
  writeLaunched,
} from "../../experiments/store/index.js";
import { OpswapError } from "../../types/errors.js";
import { forecastLines } from "../../view/forecast-lines.js";
import { type Context, EXIT, engineOptions, examples, show } from "../context.js";
import { recorded } from "../recorded.js";
import { Conductor } from "./conduct.js";
import { plannedFor } from "./plan.js";
import { preflight } from "./preflight.js";
import { exitOf, RUN_HELP } from "./run.js";
import { settle } from "./settle.js";
import { clearLost } from "./stop.js";
import { whoAmI } from "./who.js";

interface Options {
  engine?: string;
  json?: boolean;
  guarded?: boolean;
  ofRun?: string;
}

const BEGINS_MS = 60_000;
const LOOK_MS = 50;
const LAST_OF_LOG = 2_000;

export function startCommand(context: Context): Command {
  const command = new Command("start")
    .description("run an experiment that was applied in the background, and say what it will find and when")
    .argument("<name>", "the experiment")
    .option("--guarded", "let the candidate serve, and take it back when it fails")
    .addOption(new Option("--of-run <id>", "be the controller of this run").hideHelp())
    .addHelpText("after", RUN_HELP)
    .addHelpText("after", "A run whose controller was killed is lost; start makes a new one.")
    .addHelpText(
      "after",
      examples("ab start rms-norm-cpu", "ab start rms-norm-cpu --guarded --engine smollm2"),
    );
  return engineOptions(command).action(async (name: string, options: Options) => {
    if (options.ofRun !== undefined) context.exitCode = await control(context, name, options.ofRun);
    else {
      await start(context, name, options);
      context.exitCode = EXIT.ok;
    }
  });
}

/** The controller itself, in its own process. */
async function control({ io }: Context, name: string, id: string) {
  const folder = experimentsFolder();
  const run = readRun(folder, name, id);
  if (run?.phase !== "starting")
    throw new OpswapError("OPSWAP_E_RUNS", `${name} has no run ${id} that is to begin`);
  return withTarget({ engine: run.engine }, async (client) => {
    const { verdict } = await new Conductor(io, client, folder, run).conduct();
    return exitOf(verdict.result);
  });
}

async function start({ io }: Context, name: string, options: Options): Promise<void> {
  const folder = experimentsFolder();
  const shown = await recorded(io, { action: `ab start ${name}` }, async (told) => {
    const stored = storedExperiment(folder, name);
    const { op, control, candidate, ticket } = stored.spec;
    Object.assign(told, { ticket: ticket ?? null, why: `${op}, ${candidate} against ${control}` });
    const mode = options.guarded ? "guarded" : "shadow";
    await settle(io, folder, name);
    const run = await withTarget(options, async (client) => {
      Object.assign(told, { engine: client.name });
      return alone(folder, async () => {
        await clearLost(io, folder, name, client.name);
        await preflight(client, stored, { folder, mode });
        const made = createRun(folder, stored, { engine: client.name, mode, who: whoAmI() });
        launch(folder, made);
        return made;
      });
    });
    const begun = await hasBegun(folder, run);
    return { ...begun, plan: plannedFor(folder, stored) };
  });
  show(io, options.json, shown, ({ plan, ...run }) => [
    `${name}: run ${run.id} on ${run.engine}, ${run.phase}; process ${run.controller?.pid}`,
    ...forecastLines(plan),
    `\`opswap ab watch ${name}\` follows it, \`opswap ab stop ${name}\` ends it`,
  ]);
}

/** A process of its own group: it does not end with the terminal that started it. */
function launch(folder: string, run: Run): void {
  const log = openSync(inRun(folder, run, "log"), "a", 0o600);
  const args = ["ab", "start", run.experiment, "--of-run", run.id];
  const child = spawn(process.execPath, [process.argv[1] ?? "", ...args], {
    ...{ detached: true, stdio: ["ignore", log, log] },
  });
  if (child.pid !== undefined) writeLaunched(folder, run, child.pid);
  child.unref();
  closeSync(log);
}

/** Waits until the run's shadow has begun, or says why it has not. */
async function hasBegun(folder: string, run: Run): Promise<Run> {
  for (const end = performance.now() + BEGINS_MS; performance.now() < end; await sleep(LOOK_MS)) {
    const now = readRun(folder, run.experiment, run.id);
    if (now === undefined || now.phase === "starting") continue;
    if (now.phase !== "lost" && (now.phase !== "failed" || now.verdict !== null)) return now;
    throw new OpswapError("OPSWAP_E_RUNS", `${run.experiment} did not begin: ${now.reason}`, {
      remedy: `its log: ${inRun(folder, run, "log")}`,
    });
  }
  const log = readFileSync(inRun(folder, run, "log"), "utf8")
    .slice(-LAST_OF_LOG)
    .replace(/\s*\n\s*/g, " ");
  const message = `${run.experiment} has not begun after ${BEGINS_MS / 1000} s${log === "" ? "" : `: ${log}`}`;
  throw new OpswapError("OPSWAP_E_RUNS", message, { remedy: `\`opswap ab status ${run.experiment}\`` });
}
