/** `opswap evidence show`. */
import { Command } from "commander";
import { type Context, examples } from "../context.js";
import { passOn, type Shared, sharedOptions } from "./options.js";

export function showCommand(context: Context): Command {
  const command = new Command("show")
    .description("list the files of evidence that are kept, and what the library makes of each")
    .addHelpText("after", examples("evidence show", "evidence show --json"));
  return sharedOptions(command).action((options: Shared) => passOn(context, ["show"], options));
}
