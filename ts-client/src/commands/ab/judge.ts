/** `opswap ab judge`. */
import path from "node:path";
import { Command } from "commander";
import { deriveVerdict, readExperiment, stateFolder, storeVerdict } from "../../experiments/index.js";
import { verdictLines } from "../../view/verdict-lines.js";
import { type Context, EXIT, examples, show } from "../context.js";
import { refusalKept } from "../recorded.js";

export function judgeCommand(context: Context): Command {
  return new Command("judge")
    .description("judge the samples of an experiment, and store the verdict with what it follows from")
    .argument("<file>", "the experiment")
    .requiredOption("--samples <file>", "its samples, JSONL")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExits with 1 where the verdict is fail.")
    .addHelpText("after", examples("ab judge rms-norm.yaml --samples rms-norm.jsonl"))
    .action(async (file: string, options: { samples: string; json?: boolean }) => {
      const { verdict, place } = await refusalKept(context.io, { action: `ab judge ${file}` }, () => {
        const read = readExperiment(file);
        const judged = deriveVerdict(read, options.samples);
        return { verdict: judged, place: storeVerdict(verdictsFolder(), judged, read.text, options.samples) };
      });
      show(context.io, options.json, { ...verdict, place }, (shown) => [
        ...verdictLines(shown),
        `stored in ${place}`,
      ]);
      context.exitCode = verdict.result === "fail" ? EXIT.failed : EXIT.ok;
    });
}

/** Where this user's verdicts are. */
export function verdictsFolder(): string {
  return path.join(stateFolder(), "verdicts");
}
