/** `opswap convert`, with its own verbs in convert/. */
import { existsSync } from "node:fs";
import { Command } from "commander";
import { FORMATS } from "../convert/index.js";
import type { Context } from "./context.js";
import { examples } from "./context.js";
import { allCommand } from "./convert/all.js";
import { checkCommand } from "./convert/check.js";
import { diffCommand } from "./convert/diff.js";
import { inspectCommand } from "./convert/inspect.js";
import { mergeCommand } from "./convert/merge.js";
import type { Output } from "./convert/options.js";
import { perplexityCommand } from "./convert/perplexity.js";
import { planCommand } from "./convert/plan.js";
import { policyCommand } from "./convert/policy.js";
import { repackCommand } from "./convert/repack.js";
import { runCommand } from "./convert/run.js";
import { keepHeapSmall } from "./convert/small-heap.js";
import { endWithInput } from "./convert/until-eof.js";
import { verifyCommand } from "./convert/verify.js";
import { refuseUnknownVerb } from "./usage.js";

const LAYOUTS = `
Layouts:
${FORMATS.map((format) => `  ${format.id}: ${format.summary}`).join("\n")}

\`opswap convert SOURCE OUTPUT\` plans, runs and verifies. A run that was cut goes on when the same command is given again.`;

export function convertCommand(context: Context): Command {
  const command = new Command("convert")
    .description("convert a checkpoint to another layout, as fast as the disk")
    .usage("[options] SOURCE OUTPUT | COMMAND")
    .addHelpText("after", LAYOUTS)
    .addHelpText(
      "after",
      examples(
        "convert plan Qwen3-8B --tp 1,2,4",
        "convert Qwen3-8B Qwen3-8B-FP8 --to fp8_block128",
        "convert verify Qwen3-8B Qwen3-8B-FP8",
      ),
    );
  command.addCommand(allCommand(context), { isDefault: true, hidden: true });
  const verbs = [
    planCommand,
    policyCommand,
    runCommand,
    repackCommand,
    mergeCommand,
    verifyCommand,
    inspectCommand,
    checkCommand,
    perplexityCommand,
    diffCommand,
  ];
  for (const verb of verbs) command.addCommand(verb(context));
  return command.hook("preAction", (_convert, action) => {
    keepHeapSmall();
    // A slip in a verb would be read as SOURCE.
    if (!existsSync(action.args[0] ?? ".")) refuseUnknownVerb(command, "opswap convert");
    if (action.opts<Output>().untilEof) endWithInput();
  });
}
