/** `opswap ab`, whose verbs are the files of ab/. */
import { Command } from "commander";
import { deriveCommand } from "./ab/derive.js";
import { judgeCommand } from "./ab/judge.js";
import { planCommand } from "./ab/plan.js";
import { runCommand } from "./ab/run.js";
import { validateCommand } from "./ab/validate.js";
import { type Context, examples } from "./context.js";

export function abCommand(context: Context): Command {
  const command = new Command("ab")
    .description("compare an implementation with the one that runs: experiments as files, and their verdicts")
    .addHelpText(
      "after",
      examples("ab validate rms-norm.yaml", "ab plan rms-norm.yaml --spread 5%", "ab run rms-norm.yaml"),
    );
  for (const verb of [validateCommand, planCommand, runCommand, judgeCommand, deriveCommand])
    command.addCommand(verb(context));
  return command;
}
