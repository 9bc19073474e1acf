/** `opswap build-key`, with its own verbs in build-key/. */
import { Command } from "commander";
import { newCommand } from "./build-key/new.js";
import { signCommand } from "./build-key/sign.js";
import { type Context, examples } from "./context.js";

export function buildKeyCommand(context: Context): Command {
  const command = new Command("build-key")
    .description("make keys, and sign second builds with them, so that engines take them by `register`")
    .addHelpText(
      "after",
      examples("build-key new my.key", "build-key sign build-7 --key my.key --name tuned"),
    );
  for (const verb of [newCommand, signCommand]) command.addCommand(verb(context));
  return command;
}
