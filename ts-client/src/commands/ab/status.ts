/** `opswap ab status`. */
import { Command } from "commander";
import { experimentsFolder, storedNames, storedSpec } from "../../experiments/store/index.js";
import { experimentLines, experimentList } from "../../view/experiment-lines.js";
import { type Context, EXIT, examples, show } from "../context.js";
import { settle } from "./settle.js";
import { shownOf } from "./shown.js";

const HELP = `
Phases: planned, starting, quarantine, shadow, guarded; then passed, failed, inconclusive, stopped, promoted, or lost, where
the controller or the engine is gone. Drift is what the stored file says and the run does not use.`;

export function statusCommand(context: Context): Command {
  return new Command("status")
    .description(
      "how experiments stand: phase, bounds and samples by bucket, what is not sampled, budget, time left, drift",
    )
    .argument("[name]", "only this one, with all that is known")
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .addHelpText("after", examples("ab status", "ab status rms-norm-cpu --json"))
    .action(async (name: string | undefined, { json }: { json?: boolean }) => {
      const folder = experimentsFolder();
      for (const one of name === undefined ? storedNames(folder) : [name])
        await settle(context.io, folder, one);
      if (name !== undefined) show(context.io, json, shownOf(folder, name), experimentLines);
      else {
        const isExperiment = (one: string) => storedSpec(folder, one).spec.kind === "Experiment";
        const all = storedNames(folder).filter(isExperiment);
        show(
          context.io,
          json,
          all.map((one) => shownOf(folder, one)),
          experimentList,
        );
      }
      context.exitCode = EXIT.ok;
    });
}
