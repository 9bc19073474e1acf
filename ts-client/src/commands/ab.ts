/** `opswap ab`, whose verbs are the files of ab/. */
import { Command } from "commander";
import { applyCommand } from "./ab/apply.js";
import { deriveCommand } from "./ab/derive.js";
import { exportCommand } from "./ab/export.js";
import { judgeCommand } from "./ab/judge.js";
import { planCommand } from "./ab/plan.js";
import { promoteCommand } from "./ab/promote.js";
import { rollbackCommand } from "./ab/rollback.js";
import { runCommand } from "./ab/run.js";
import { startCommand } from "./ab/start.js";
import { statusCommand } from "./ab/status.js";
import { stopCommand } from "./ab/stop.js";
import { validateCommand } from "./ab/validate.js";
import { watchCommand } from "./ab/watch.js";
import { type Context, examples } from "./context.js";

const VERBS = [
  ...[validateCommand, planCommand, applyCommand, startCommand, statusCommand, watchCommand, stopCommand],
  ...[promoteCommand, rollbackCommand, exportCommand, runCommand, judgeCommand, deriveCommand],
];

export function abCommand(context: Context): Command {
  const command = new Command("ab")
    .description("compare an implementation with the one that runs: experiments as files, and their verdicts")
    .addHelpText(
      "after",
      examples(
        "ab plan rms-norm.yaml --spread 5%",
        "ab apply -f rms-norm.yaml",
        "ab start rms-norm-cpu --guarded",
        "ab status rms-norm-cpu",
        "ab promote rms-norm-cpu",
      ),
    );
  for (const verb of VERBS) command.addCommand(verb(context));
  return command;
}
