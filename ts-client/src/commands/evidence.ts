/** `opswap evidence`, with its own verbs in evidence/. */
import { Command } from "commander";
import { type Context, examples } from "./context.js";
import { exportCommand } from "./evidence/export.js";
import { runCommand } from "./evidence/run.js";
import { showCommand } from "./evidence/show.js";

export function evidenceCommand(context: Context): Command {
  const command = new Command("evidence")
    .description("check the CUDA kernels on this machine's own card, so that they need not be named to run")
    .addHelpText("after", examples("evidence run rms_norm", "evidence show", "evidence export evidence/"));
  for (const verb of [runCommand, showCommand, exportCommand]) command.addCommand(verb(context));
  return command;
}
