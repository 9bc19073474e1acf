/** `opswap reset`. */
import { Command } from "commander";
import { withTarget } from "../client/target.js";
import { resetLines } from "../view/switch-lines.js";
import { type Context, EXIT, engineOptions, examples, show, type TargetOptions } from "./context.js";
import { type AuditOptions, auditOptions, inAudit, textOption } from "./in-audit.js";
import { secondsOption } from "./seconds-option.js";

interface Options extends TargetOptions, AuditOptions {
  timeout?: number;
  owner?: string;
}

export function resetCommand(context: Context): Command {
  const command = new Command("reset")
    .description("unpin an op, or all: back to what the library chose at load, and nothing of it barred")
    .argument("[op]", "only this op")
    .option(
      "--timeout <seconds>",
      "how long a rank may take for each of prepare and commit (30)",
      secondsOption,
    )
    .option("--owner <name>", "who you are: a freeze does not stop its owner", textOption)
    .addHelpText("after", examples("reset rms_norm", "reset --engine smollm2"));
  return engineOptions(auditOptions(command)).action(async (op: string | undefined, options: Options) => {
    const { owner } = options;
    const timeoutMs = options.timeout && Math.round(1000 * options.timeout);
    const asked = { action: op === undefined ? "reset" : `reset ${op}`, to: {} };
    const change = inAudit(context.io, asked, options, (client) => client.reset(op, { timeoutMs, owner }));
    const result = await withTarget(options, change);
    show(context.io, options.json, result, resetLines);
    context.exitCode = EXIT.ok;
  });
}
