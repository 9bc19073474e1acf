import { Command } from "commander";
import {
  type ConvertOptions,
  checkVerdict,
  type Emit,
  makePlan,
  openSource,
  run,
  verify,
} from "../../convert/index.js";
import { type Context, examples } from "../context.js";
import {
  chosen,
  conversionOptions,
  type Output,
  outputOptions,
  type Threads,
  threadsOption,
} from "./options.js";
import { reported } from "./reporter.js";

type Options = ConvertOptions & Threads & Output & { restart?: boolean };

/** Plan, run and verify. */
export function allCommand(context: Context): Command {
  return converting(context, "all", "convert and verify", true);
}

export function runCommand(context: Context): Command {
  return converting(context, "run", "convert, without the verification afterwards", false).addHelpText(
    "after",
    examples("convert run Qwen3-8B Qwen3-8B-FP8", "convert run Qwen3-8B Qwen3-8B-FP8 --json | tee log.jsonl"),
  );
}

function converting(context: Context, name: string, description: string, verified: boolean): Command {
  const command = new Command(name)
    .description(description)
    .argument("<source>", "a folder of safetensors, or one file")
    .argument("<output>", "the folder to make")
    .option("--restart", "remove an unfinished output first instead of going on with it");
  return outputOptions(threadsOption(conversionOptions(command))).action(
    (source: string, output: string, options: Options) =>
      reported(context, options, (emit) => convert(source, output, options, verified, emit)),
  );
}

async function convert(source: string, output: string, options: Options, verified: boolean, emit: Emit) {
  const plan = makePlan(openSource(source), chosen(options));
  const { threads, restart } = options;
  await run(plan, output, { ...(threads ? { threads } : {}), ...(restart ? { restart } : {}) }, emit);
  if (verified) checkVerdict(await verify(plan, output, threads, emit), output);
}
