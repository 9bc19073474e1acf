/** `opswap freeze`: until a time only its owner switches its ops. */
import { Command } from "commander";
import { withTarget } from "../client/target.js";
import type { OpswapClient } from "../client/types.js";
import {
  checkFreeze,
  collectFirst,
  FileAudit,
  type FreezeSpec,
  readFreeze,
  stateFolder,
} from "../experiments/index.js";
import type { Freeze } from "../generated/messages.js";
import { freezeLine } from "../view/status-lines.js";
import { type Context, EXIT, engineOptions, examples, show, type TargetOptions } from "./context.js";
import { textOption } from "./in-audit.js";
import { refusalKept, type Told } from "./recorded.js";

export function freezeCommand(context: Context): Command {
  return new Command("freeze")
    .description("forbid switches of ops until a time, but for their owner's")
    .addHelpText(
      "after",
      examples("freeze apply launch.yaml", "freeze list", "freeze lift launch --owner serving-team"),
    )
    .addCommand(applyCommand(context))
    .addCommand(liftCommand(context))
    .addCommand(listCommand(context));
}

function applyCommand(context: Context): Command {
  const command = new Command("apply")
    .description("tell a running engine of a freeze; the same name and owner replace what is there")
    .argument("<file>", "YAML or JSON, kind Freeze: docs/ab-verdicts.md");
  return engineOptions(command).action(async (file: string, options: TargetOptions) => {
    await changed(context, options, `freeze apply ${file}`, () => {
      const read = readFreeze(file);
      return async (client) => {
        checkFreeze(await client.manifest(), read);
        return client.ask("freeze", asRequest(read.spec));
      };
    });
  });
}

/** Freezes are in the engine's journal, which the audit takes up at once. */
async function changed(
  context: Context,
  options: TargetOptions,
  action: string,
  begin: () => (client: OpswapClient) => Promise<{ freezes: Freeze[] }>,
): Promise<void> {
  const record: Told = { action };
  const { freezes } = await refusalKept(context.io, record, () => {
    const change = begin();
    return withTarget(options, async (client) => {
      record.engine = client.name;
      const result = await change(client);
      await collectFirst(client, new FileAudit(stateFolder()));
      return result;
    });
  });
  told(context, options, freezes);
}

/** Times as an engine takes them. */
export function asRequest({ name, owner, reason, from, until, ops }: FreezeSpec) {
  const times = { until_ms: Date.parse(until), ...(from !== undefined && { from_ms: Date.parse(from) }) };
  return { name, owner, reason, ops, ...times };
}

function liftCommand(context: Context): Command {
  const command = new Command("lift")
    .description("end a freeze; its owner may")
    .argument("<name>", "the freeze")
    .option("--owner <name>", "who you are", textOption);
  return engineOptions(command).action(async (name: string, options: TargetOptions & { owner?: string }) => {
    const request = { name, ...(options.owner !== undefined && { owner: options.owner }) };
    await changed(context, options, `freeze lift ${name}`, () => (client) => client.ask("unfreeze", request));
  });
}

function listCommand(context: Context): Command {
  const command = new Command("list").description("the freezes that last, or will");
  return engineOptions(command).action(async (options: TargetOptions) => {
    const { freezes } = await withTarget(options, (client) => client.status());
    told(context, options, freezes);
  });
}

function told(context: Context, { json }: TargetOptions, freezes: Freeze[]): void {
  show(context.io, json, freezes, (all) => (all.length === 0 ? ["nothing is frozen"] : all.map(freezeLine)));
  context.exitCode = EXIT.ok;
}
