/** `opswap use`. */
import { Command, Option } from "commander";
import { type Outcome, switchEverywhere } from "../client/switch-everywhere.js";
import { withTarget } from "../client/target.js";
import type { UseOptions } from "../client/types.js";
import { choiceOf } from "../experiments/audit/audited-switch.js";
import type { Change } from "../generated/messages.js";
import { OpswapError } from "../types/errors.js";
import { errorLines } from "../view/error-lines.js";
import { age } from "../view/format.js";
import { outcomeLines, switchLines } from "../view/switch-lines.js";
import { wholeOption } from "./calls-options.js";
import { changesOf } from "./changes.js";
import {
  type Context,
  EXIT,
  type ExitCode,
  engineOptions,
  examples,
  type Io,
  show,
  type TargetOptions,
} from "./context.js";
import { exitCodeOf } from "./errors.js";
import { type AuditOptions, auditOptions, inAudit, textOption } from "./in-audit.js";
import { secondsOption } from "./seconds-option.js";
import { ttlOption } from "./ttl-option.js";

interface Options extends TargetOptions, AuditOptions {
  allEngines?: boolean;
  timeout?: number;
  neutral?: string;
  ttl?: number;
  owner?: string;
  ifEpoch?: number;
}

const EXAMPLES = examples(
  "use rms_norm ref",
  "use rms_norm=ref linear=cpu --reason 'NaNs since Tuesday'",
  "use rms_norm ref --ttl 30m",
  "use rms_norm framework --all-engines",
);

export function useCommand(context: Context): Command {
  const command = new Command("use")
    .description("switch ops to other implementations, on every rank at one step or on none")
    .argument(
      "<changes...>",
      "OP IMPL, or OP=IMPL for each of several ops; `opswap why OP` lists implementations",
    )
    .option(
      "--timeout <seconds>",
      "how long a rank may take for each of prepare and commit (30)",
      secondsOption,
    )
    .option(
      "--neutral <reason>",
      "keep cached KV, because it stays as good as before for this reason",
      textOption,
    )
    .option("--ttl <time>", "it ends by itself after 1s to 30d, and what ran before runs again", ttlOption)
    .option("--owner <name>", "who you are: a freeze does not stop its owner", textOption)
    .option("--if-epoch <n>", "refuse when somebody has switched since this epoch was shown", wholeOption)
    .addOption(
      new Option(
        "--all-engines",
        "every running engine, one after another; each switches by itself",
      ).conflicts("engine"),
    )
    .addHelpText("after", EXAMPLES);
  return engineOptions(auditOptions(command)).action(async (words: string[], options: Options) => {
    const changes = changesOf(words);
    context.exitCode = options.allEngines
      ? await everywhere(context.io, changes, options)
      : await one(context.io, changes, options);
  });
}

/** As the client takes them. */
function howTo({ timeout, ttl: ttlMs, reason, neutral, ticket, owner, ifEpoch }: Options): UseOptions {
  const timeoutMs = timeout && Math.round(1000 * timeout);
  return { timeoutMs, ttlMs, reason, neutral, ticket, owner, ifEpoch };
}

/** The switch, by way of the audit. */
function audited(io: Io, changes: Change[], options: Options) {
  const asked = { action: "use", to: choiceOf(changes) };
  return inAudit(io, asked, options, (client) => client.use(changes, howTo(options)));
}

async function one(io: Io, changes: Change[], options: Options): Promise<ExitCode> {
  try {
    const result = await withTarget(options, audited(io, changes, options));
    const ends = options.ttl === undefined ? [] : [`it ends by itself in ${age(options.ttl)}`];
    show(io, options.json, result, (switched) => [...switchLines(switched), ...ends]);
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof OpswapError) || error.code !== "OPSWAP_E_AMBIGUOUS") throw error;
    throw new OpswapError(error.code, error.message, {
      remedy: "name one with --engine, or all with --all-engines",
    });
  }
}

async function everywhere(io: Io, changes: Change[], options: Options): Promise<ExitCode> {
  const outcomes: Outcome[] = [];
  let worst: ExitCode = EXIT.ok;
  for await (const outcome of switchEverywhere(audited(io, changes, options))) {
    outcomes.push(outcome);
    if (!("error" in outcome)) continue;
    const { engine, error } = outcome;
    if (!options.json) for (const line of errorLines(error)) io.err(`${engine}: ${line}`);
    worst = worst === EXIT.ok ? exitCodeOf(error) : EXIT.failed;
  }
  if (options.json) io.out(JSON.stringify(outcomes.map(asJson), null, 2));
  else for (const line of outcomes.flatMap(outcomeLines)) io.out(line);
  return worst;
}

/** An error as scripts read it: an Error itself is `{}` in JSON. */
function asJson(outcome: Outcome) {
  if (!("error" in outcome)) return outcome;
  const { code, message, remedy } = outcome.error;
  return { engine: outcome.engine, error: { code, message, remedy } };
}
