/** `opswap use`. */
import { Command, Option } from "commander";
import { type Outcome, switchEverywhere } from "../client/switch-everywhere.js";
import { withTarget } from "../client/target.js";
import type { Change } from "../generated/messages.js";
import { OpswapError } from "../types/errors.js";
import { errorLines } from "../view/error-lines.js";
import { outcomeLines, switchLines } from "../view/switch-lines.js";
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

interface Options extends TargetOptions {
  allEngines?: boolean;
}

export function useCommand(context: Context): Command {
  const command = new Command("use")
    .description("switch an op to another implementation, on every rank at one step or on none")
    .argument("<op>", "the op")
    .argument("<impl>", "the implementation, as `opswap why OP` lists them")
    .addOption(
      new Option(
        "--all-engines",
        "every running engine, one after another; each switches by itself",
      ).conflicts("engine"),
    )
    .addHelpText("after", examples("use rms_norm ref", "use rms_norm framework --all-engines"));
  return engineOptions(command).action(async (op: string, impl: string, options: Options) => {
    const change = { op, impl };
    context.exitCode = options.allEngines
      ? await everywhere(context.io, change, options)
      : await one(context.io, change, options);
  });
}

async function one(io: Io, change: Change, options: TargetOptions): Promise<ExitCode> {
  try {
    const result = await withTarget(options, (client) => client.use([change]));
    show(io, options.json, result, switchLines);
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof OpswapError) || error.code !== "OPSWAP_E_AMBIGUOUS") throw error;
    throw new OpswapError(error.code, error.message, {
      remedy: "name one with --engine, or all with --all-engines",
    });
  }
}

async function everywhere(io: Io, change: Change, options: Options): Promise<ExitCode> {
  const outcomes: Outcome[] = [];
  let worst: ExitCode = EXIT.ok;
  for await (const outcome of switchEverywhere([change])) {
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
