/** `opswap why`. */
import { Command } from "commander";
import { withTarget } from "../client/target.js";
import { whyLines } from "../view/why-lines.js";
import {
  type Context,
  EXIT,
  examples,
  show,
  sidecarOption,
  type TargetOptions,
  targetOptions,
} from "./context.js";

export function whyCommand(context: Context): Command {
  const command = new Command("why")
    .description("say which implementations of an op can run here, and why the others cannot")
    .argument("<op>", "the op")
    .addHelpText(
      "after",
      examples("why rms_norm", "why linear --engine smollm2 --json", "why linear --sidecar second"),
    );
  return sidecarOption(targetOptions(command)).action(async (op: string, options: TargetOptions) => {
    const result = await withTarget(options, (client) => client.why(op));
    show(context.io, options.json, result, whyLines);
    context.exitCode = EXIT.ok;
  });
}
