/** `opswap ops`. */
import { Command } from "commander";
import { withTarget } from "../client/target.js";
import { bucketLines } from "../view/bucket-lines.js";
import { opLines } from "../view/op-lines.js";
import {
  type Context,
  EXIT,
  examples,
  show,
  sidecarOption,
  type TargetOptions,
  targetOptions,
} from "./context.js";

interface Options extends TargetOptions {
  ranks?: boolean;
  buckets?: boolean;
}

export function opsCommand(context: Context): Command {
  const command = new Command("ops")
    .description("list ops: what runs, how often, how fast")
    .option("--ranks", "one line per rank")
    .option("--buckets", "times by shape bucket (docs/manifest.md), of every implementation that ran")
    .addHelpText("after", examples("ops", "ops --ranks", "ops --buckets", "ops --local --json"));
  return sidecarOption(targetOptions(command)).action(async (options: Options) => {
    const result = await withTarget(options, (client) => client.ops());
    show(context.io, options.json, result, ({ ranks }) =>
      options.buckets ? bucketLines(ranks) : opLines(ranks, options.ranks),
    );
    context.exitCode = EXIT.ok;
  });
}
