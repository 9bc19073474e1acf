/** `opswap ab watch`. */
import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { experimentsFolder, isActive, runsOf, storedExperiment } from "../../experiments/store/index.js";
import { type Context, EXIT, examples } from "../context.js";
import { lookLine } from "./conduct.js";
import { noRun } from "./no-run.js";
import { exitOf, RUN_CODES } from "./run.js";
import { settle } from "./settle.js";

const LOOK_MS = 500;

export function watchCommand(context: Context): Command {
  return new Command("watch")
    .description("follow the last run of an experiment, a line a look, until it ends")
    .argument("<name>", "the experiment")
    .option("--json", "a line of JSON a look")
    .addHelpText("after", RUN_CODES)
    .addHelpText("after", examples("ab watch rms-norm-cpu"))
    .action(async (name: string, { json }: { json?: boolean }) => {
      context.exitCode = await watch(context, name, json === true);
    });
}

async function watch({ io }: Context, name: string, json: boolean) {
  const folder = experimentsFolder();
  storedExperiment(folder, name);
  let shown = "";
  for (;;) {
    await settle(io, folder, name);
    const [run] = runsOf(folder, name);
    if (run === undefined) throw noRun(name);
    const { look, phase, reason } = run;
    if (look !== null && look.time !== shown) {
      const { elapsed_ms: elapsedMs, samples, ...judgement } = look;
      io.out(json ? JSON.stringify({ phase, ...look }) : lookLine({ elapsedMs, samples, judgement }));
      shown = look.time;
    }
    if (!isActive(run)) {
      io.out(json ? JSON.stringify({ phase, reason, verdict: run.verdict }) : `${phase}: ${reason}`);
      return phase === "lost" || phase === "failed" ? EXIT.failed : exitOf(look?.result ?? "no-data");
    }
    await sleep(LOOK_MS);
  }
}
