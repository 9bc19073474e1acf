/** `opswap audit collect`. */
import { Command } from "commander";
import { withTarget } from "../../client/target.js";
import { collectEvents, FileAudit, stateFolder } from "../../experiments/index.js";
import { type Context, EXIT, engineOptions, examples, show, type TargetOptions } from "../context.js";

export function collectCommand(context: Context): Command {
  const command = new Command("collect")
    .description("take up what an engine did by itself; every verb that switches does this first")
    .addHelpText("after", examples("audit collect", "audit collect --engine smollm2"));
  return engineOptions(command).action(async (options: TargetOptions) => {
    const store = new FileAudit(stateFolder());
    const collected = await withTarget(options, (client) => collectEvents(client, store));
    show(context.io, options.json, { collected }, () => [`${collected} new events of the engine`]);
    context.exitCode = EXIT.ok;
  });
}
