import { Command, Option } from "commander";
import { discover, OpswapError } from "../client/index.js";
import type { Change, UseResult } from "../generated/messages.js";
import {
  type Context,
  EXIT,
  type ExitCode,
  engineOptions,
  examples,
  type Io,
  show,
  type Target,
  withTarget,
} from "./context.js";
import { errorLines, exitCodeOf } from "./errors.js";

interface Options extends Target {
  allEngines?: boolean;
}

/** What happened on one engine. */
export type Outcome =
  | { engine: string; result: UseResult }
  | { engine: string; error: { code: string; message: string; remedy: string } };

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

async function one(io: Io, change: Change, options: Target): Promise<ExitCode> {
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
  const engines = discover().filter((found) => found.service === "engine" && found.state !== "dead");
  if (engines.length === 0) throw new OpswapError("OPSWAP_E_NOT_RUNNING", "no engine is running");
  const outcomes: Outcome[] = [];
  let worst: ExitCode = EXIT.ok;
  for (const { name } of engines) {
    try {
      const result = await withTarget({ engine: name }, (client) => client.use([change]));
      outcomes.push({ engine: name, result });
    } catch (error) {
      if (!(error instanceof OpswapError)) throw error;
      outcomes.push({
        engine: name,
        error: { code: error.code, message: error.message, remedy: error.remedy },
      });
      if (!options.json) for (const line of errorLines(error)) io.err(`${name}: ${line}`);
      worst = worst === EXIT.ok ? exitCodeOf(error) : EXIT.failed;
    }
  }
  show(io, options.json, outcomes, (all) => all.flatMap(outcomeLines));
  return worst;
}

function outcomeLines(outcome: Outcome): string[] {
  if ("error" in outcome) return [`${outcome.engine}: not switched`];
  return switchLines(outcome.result).map((line) => `${outcome.engine}: ${line}`);
}

/** One line for the switch and one for the acknowledgement of each rank. */
export function switchLines({ changes, epoch, step, acks }: UseResult): string[] {
  const what = changes.map(({ op, impl }) => `${op} -> ${impl}`).join(", ");
  const ranks = acks.map((ack) => {
    const before = Object.entries(ack.previous).map(([op, impl]) => `${op} was ${impl}`);
    return `  rank ${ack.rank}: step ${ack.step}, epoch ${ack.epoch}, ${ack.applied}; ${before.join(", ")}`;
  });
  return [
    `${what}: epoch ${epoch}, from step ${step} on ${acks.length} rank${acks.length === 1 ? "" : "s"}`,
    ...ranks,
  ];
}
