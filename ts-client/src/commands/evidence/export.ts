/** `opswap evidence export`. */
import { Command } from "commander";
import { type Context, examples } from "../context.js";
import { passOn, type Shared, sharedOptions } from "./options.js";

export function exportCommand(context: Context): Command {
  const command = new Command("export")
    .description("write what counts as a checkout's evidence/ takes it")
    .argument("<folder>", "where MODEL/OP.json are written")
    .option("--op <op>", "of this op alone")
    .addHelpText("after", examples("evidence export evidence/", "evidence export evidence/ --op copy"));
  return sharedOptions(command).action((folder: string, options: Shared & { op?: string }) =>
    passOn(context, ["export", folder, ...(options.op === undefined ? [] : [`--op=${options.op}`])], options),
  );
}
