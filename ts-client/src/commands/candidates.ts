/** `opswap candidates`. */
import { Command } from "commander";
import { withTarget } from "../client/target.js";
import { candidateLines } from "../view/candidate-lines.js";
import { type Context, EXIT, engineOptions, examples, show, type TargetOptions } from "./context.js";

export function candidatesCommand(context: Context): Command {
  const command = new Command("candidates")
    .description("list every implementation, whoever brought it: the library, the engine, or `register`")
    .argument("[op]", "only this op")
    .addHelpText("after", examples("candidates silu_and_mul", "candidates --engine smollm2 --json"));
  return engineOptions(command).action(async (op: string | undefined, options: TargetOptions) => {
    const request = op === undefined ? {} : { op };
    const result = await withTarget(options, (client) => client.ask("candidates", request));
    show(context.io, options.json, result, ({ candidates }) => candidateLines(candidates));
    context.exitCode = EXIT.ok;
  });
}
