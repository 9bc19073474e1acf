/** `opswap evidence run`. */
import { Command } from "commander";
import { type Context, examples } from "../context.js";
import { passOn, type Shared, sharedOptions } from "./options.js";

export function runCommand(context: Context): Command {
  const command = new Command("run")
    .description("check and time the installed kernels on the card that is there, and keep the result")
    .argument("[op]", "one op; all that have kernels when left out")
    .option("--small", "small cases only: a first look, which proves nothing")
    .addHelpText("after", examples("evidence run", "evidence run rms_norm --json"));
  return sharedOptions(command).action((op: string | undefined, options: Shared & { small?: boolean }) =>
    passOn(
      context,
      ["run", ...(options.small ? ["--small"] : []), ...(op === undefined ? [] : [op])],
      options,
    ),
  );
}
