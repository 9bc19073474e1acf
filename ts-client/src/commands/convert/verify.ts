import { Command } from "commander";
import {
  type ConvertOptions,
  checkVerdict,
  makePlan,
  openSource,
  optionsFor,
  readSummary,
  verify,
} from "../../convert/index.js";
import { type Context, examples } from "../context.js";
import {
  chosen,
  conversionOptions,
  type Output,
  outputOptions,
  type Threads,
  type Tokenizer,
  threadsOption,
} from "./options.js";
import { reported } from "./reporter.js";

const HELP = `
Options that say how the output was converted are read from its conversion.json where it has one.`;

export function verifyCommand(context: Context): Command {
  const command = new Command("verify")
    .description("convert again in memory and compare every byte with an output")
    .argument("<source>", "what the output was made from")
    .argument("<output>", "the folder to check")
    .addHelpText("after", HELP)
    .addHelpText("after", examples("convert verify Qwen3-8B Qwen3-8B-FP8"));
  return outputOptions(threadsOption(conversionOptions(command))).action(
    (source: string, output: string, options: ConvertOptions & Tokenizer & Threads & Output) =>
      reported(context, options, async (emit) => {
        const made = readSummary(output);
        const how = made ? optionsFor(made, options.calibration) : chosen(options);
        const plan = makePlan(openSource(source, options.tokenizer), how);
        checkVerdict(await verify(plan, output, options.threads, emit), output);
      }),
  );
}
