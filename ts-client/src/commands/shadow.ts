/** `opswap shadow`: control and candidate behind live calls of an engine, compared and never served. */
import { writeFileSync } from "node:fs";
import { Command, Option } from "commander";
import { withTarget } from "../client/target.js";
import type { OpswapClient } from "../client/types.js";
import { count } from "../view/format.js";
import { recordLines, shadowLines } from "../view/watch-lines.js";
import { type CallsOptions, callsOptions, chosenCalls, wholeOption } from "./calls-options.js";
import { type Context, EXIT, engineOptions, examples, show, type TargetOptions } from "./context.js";
import { shadowSamples } from "./shadow-samples.js";
import { shareOption } from "./share-option.js";

interface StartOptions extends TargetOptions, CallsOptions {
  candidate: string;
  control?: string;
  time?: number;
}

const EXAMPLES = examples(
  "shadow start rms_norm --candidate ref",
  "shadow start linear --candidate cpu --control framework --calls 1% --time 1%",
  "shadow status rms_norm",
  "shadow read rms_norm --samples rms-norm.jsonl",
  "shadow stop rms_norm",
);

export function shadowCommand(context: Context): Command {
  return new Command("shadow")
    .description("run two implementations behind live calls, compare them, and serve neither")
    .addHelpText("after", EXAMPLES)
    .addCommand(startCommand(context))
    .addCommand(oneCommand(context, "status", "what was seen, chosen and left out", "shadow_status"))
    .addCommand(readCommand(context))
    .addCommand(oneCommand(context, "stop", "end it; its records can still be read", "shadow_stop"));
}

function startCommand(context: Context): Command {
  const command = new Command("start")
    .description("start on every rank, or on none")
    .argument("<op>", "the op")
    .requiredOption("--candidate <implementation>", "what is tried")
    .option("--control <implementation>", "what it is compared with; what serves now when left out")
    .option("--time <share>", "of the time of the steps, at most (1%)", shareOption);
  return engineOptions(callsOptions(command)).action(async (op: string, options: StartOptions) => {
    const result = await withTarget(options, (client) => start(client, op, options));
    show(context.io, options.json, result, ({ ranks }) => shadowLines(ranks));
    context.exitCode = EXIT.ok;
  });
}

async function start(client: OpswapClient, op: string, options: StartOptions) {
  const { candidate, time } = options;
  const control = options.control ?? (await client.why(op)).ranks[0]?.active ?? "";
  const budget = time === undefined ? {} : { share_of_time: time };
  return client.ask("shadow_start", { op, control, candidate, ...budget, ...chosenCalls(options) });
}

function oneCommand(
  context: Context,
  name: string,
  description: string,
  verb: "shadow_status" | "shadow_stop",
): Command {
  const command = new Command(name).description(description).argument("<op>", "the op");
  return engineOptions(command).action(async (op: string, options: TargetOptions) => {
    const result = await withTarget(options, (client) => client.ask(verb, { op }));
    show(context.io, options.json, result, ({ ranks }) => shadowLines(ranks));
    context.exitCode = EXIT.ok;
  });
}

interface ReadOptions extends TargetOptions {
  most?: number;
  samples?: string;
}

function readCommand(context: Context): Command {
  const command = new Command("read")
    .description("the calls that were compared, one a line")
    .argument("<op>", "the op")
    .option("--most <n>", "the first so many of each rank", wholeOption)
    .addOption(
      new Option("--samples <file>", "write all of them to a file that `opswap ab judge` takes").conflicts(
        "most",
      ),
    );
  return engineOptions(command).action(async (op: string, options: ReadOptions) => {
    const { most, samples } = options;
    context.exitCode = EXIT.ok;
    if (samples !== undefined) return save(context, op, samples, options);
    const request = { op, ...(most !== undefined && { most }) };
    const result = await withTarget(options, (client) => client.ask("shadow_read", request));
    show(context.io, options.json, result, ({ records }) => recordLines(records));
  });
}

async function save({ io }: Context, op: string, file: string, options: TargetOptions): Promise<void> {
  const { text, records } = await withTarget(options, (client) => shadowSamples(client, op));
  writeFileSync(file, text, { mode: 0o600 });
  show(io, options.json, { file, records }, () => [`${file}: ${count(records)} samples`]);
}
