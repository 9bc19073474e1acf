/** `opswap audit revert`: what a switch changed is switched back. */
import { Command } from "commander";
import { withTarget } from "../../client/target.js";
import { FileAudit, revert, stateFolder, switchBack, whole } from "../../experiments/index.js";
import { switchLines } from "../../view/switch-lines.js";
import { wholeOption } from "../calls-options.js";
import { type Context, EXIT, engineOptions, examples, show, type TargetOptions } from "../context.js";
import { type AuditOptions, auditOptions, inAudit, textOption } from "../in-audit.js";
import { refusalKept } from "../recorded.js";

interface Options extends TargetOptions, AuditOptions {
  owner?: string;
}

export function revertCommand(context: Context): Command {
  const command = new Command("revert")
    .description("switch back what the last switch of the audit changed, unless something else runs by now")
    .argument("[record]", "the switch of this record instead", wholeOption)
    .option("--owner <name>", "who you are: a freeze does not stop its owner", textOption)
    .addHelpText("after", examples("audit revert", "audit revert 17 --reason 'slower at night'"));
  return engineOptions(auditOptions(command)).action(async (number: number | undefined, options: Options) => {
    const { reason, owner } = options;
    const result = await withTarget(options, async (client) => {
      const told = { action: "audit revert", engine: client.name };
      const back = await refusalKept(context.io, told, () => {
        const store = new FileAudit(stateFolder());
        return switchBack(whole(store, store.verified()).records, client.name, number);
      });
      const asked = { action: `revert ${back.record}`, to: back.from };
      return inAudit(context.io, asked, options, () => revert(client, back, { reason, owner }))(client);
    });
    show(context.io, options.json, result, switchLines);
    context.exitCode = EXIT.ok;
  });
}
