/** `opswap quarantine`: recorded calls on a candidate in another process, which bar it where it fails (docs/quarantine.md). */
import { Command, InvalidArgumentError } from "commander";
import { withTarget } from "../client/target.js";
import type { OpswapClient } from "../client/types.js";
import type { Quarantined, QuarantineResult } from "../generated/messages.js";
import { OpswapError } from "../types/errors.js";
import { keptLines, quarantineLines } from "../view/quarantine-lines.js";
import { type Context, EXIT, engineOptions, examples, show, type TargetOptions } from "./context.js";
import { type AuditOptions, auditOptions, inAudit } from "./in-audit.js";
import { secondsOption } from "./seconds-option.js";

interface Options extends TargetOptions, AuditOptions {
  control?: string;
  calls?: number;
  timeout?: number;
}

/** The engine's own bounds. */
const MOST_CALLS = 1000;
const TIMEOUT_S = 300;
const BARRED = "OPSWAP_E_BARRED";

const EXAMPLES = examples("quarantine rms_norm mine", "quarantine rms_norm cpu --control ref", "quarantine");

export function quarantineCommand(context: Context): Command {
  const command = new Command("quarantine")
    .description("replay recorded calls on a candidate in another process; without one, what is known")
    .argument("[op]", "the op")
    .argument("[impl]", "the candidate")
    .option("--control <implementation>", "what it is compared with; what is active when left out")
    .option("--calls <n>", "recorded calls, of all shape buckets in turn (32)", callsOption)
    .option("--timeout <seconds>", `for all calls (${TIMEOUT_S})`, secondsOption)
    .addHelpText("after", "\nExits with 1 where the candidate is barred.")
    .addHelpText("after", EXAMPLES);
  return engineOptions(auditOptions(command)).action(
    async (op: string | undefined, impl: string | undefined, options: Options) => {
      context.exitCode = EXIT.ok;
      if (op !== undefined && impl !== undefined) return await quarantine(context, op, impl, options);
      const request = op === undefined ? {} : { op };
      const kept = await withTarget(options, (client) => client.ask("quarantine_status", request));
      show(context.io, options.json, kept, ({ results }) => keptLines(results));
    },
  );
}

function callsOption(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > MOST_CALLS)
    throw new InvalidArgumentError(`a number from 1 to ${MOST_CALLS}`);
  return value;
}

async function quarantine(context: Context, op: string, impl: string, options: Options): Promise<void> {
  const found = await withTarget(options, audited(context, op, impl, options));
  show(context.io, options.json, found, quarantineLines);
  if (found.verdict === "barred") context.exitCode = EXIT.failed;
}

/** By way of the audit, where a bar is the refusal that it is. */
function audited({ io }: Context, op: string, impl: string, options: Options) {
  let found: Quarantined | undefined;
  const change = async (client: OpswapClient) => {
    const { epoch, result } = await ask(client, op, impl, options);
    found = result;
    if (result.verdict === "barred") throw new OpswapError(BARRED, result.reason);
    return { acks: [], epoch, changes: [] };
  };
  const asked = { action: `quarantine ${op} ${impl}`, to: {} };
  const switched = inAudit(io, asked, options, change);
  return async (client: OpswapClient): Promise<Quarantined> => {
    try {
      await switched(client);
    } catch (error) {
      if (found === undefined) throw error;
    }
    return found as Quarantined;
  };
}

function ask(client: OpswapClient, op: string, impl: string, options: Options): Promise<QuarantineResult> {
  const timeoutMs = Math.round(1000 * (options.timeout ?? TIMEOUT_S));
  const { control, calls } = options;
  const given = {
    ...(control !== undefined && { control }),
    ...(calls !== undefined && { most_calls: calls }),
  };
  return client.ask("quarantine", { op, impl, timeout_ms: timeoutMs, ...given }, { timeoutMs });
}
