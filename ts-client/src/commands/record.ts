/** `opswap record`: arguments of live calls of an engine, written to files (docs/recordings.md). */
import { Command } from "commander";
import { withTarget } from "../client/target.js";
import { recordingLines } from "../view/watch-lines.js";
import { type CallsOptions, callsOptions, chosenCalls } from "./calls-options.js";
import { type Context, EXIT, engineOptions, examples, show, type TargetOptions } from "./context.js";

type Options = TargetOptions & CallsOptions;

const NOTE = `
An engine keeps activations only where it was started with OPSWAP_RECORDINGS=FOLDER; \`opswap replay FILE\` makes a
recorded call again.`;

export function recordCommand(context: Context): Command {
  const start = new Command("start")
    .description("start on every rank, or on none")
    .argument("<op>", "the op");
  return new Command("record")
    .description("write the arguments of chosen live calls of an op to files")
    .addHelpText("after", NOTE)
    .addHelpText("after", examples("record start rms_norm --calls 0.1%", "record stop rms_norm"))
    .addCommand(
      engineOptions(callsOptions(start)).action((op: string, options: Options) =>
        answer(context, options, "record_start", { op, ...chosenCalls(options) }),
      ),
    )
    .addCommand(oneCommand(context, "status", "what was written", "record_status"))
    .addCommand(oneCommand(context, "stop", "end it", "record_stop"));
}

function oneCommand(
  context: Context,
  name: string,
  description: string,
  verb: "record_status" | "record_stop",
): Command {
  const command = new Command(name).description(description).argument("<op>", "the op");
  return engineOptions(command).action((op: string, options: Options) =>
    answer(context, options, verb, { op }),
  );
}

async function answer(
  context: Context,
  options: Options,
  verb: "record_start" | "record_status" | "record_stop",
  request: { op: string },
): Promise<void> {
  const result = await withTarget(options, (client) => client.ask(verb, request));
  show(context.io, options.json, result, ({ ranks }) => recordingLines(ranks));
  context.exitCode = EXIT.ok;
}
