/** `opswap convert verify`. */
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
import { usageError } from "../usage.js";
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

type Options = ConvertOptions & Tokenizer & Threads & Output;

/** An option that says something else than the output does would be ignored. */
function refuseOthers(given: Command, wanted: ConvertOptions, made: ConvertOptions, output: string): void {
  for (const option of given.options) {
    const key = option.attributeName() as keyof ConvertOptions;
    if (!(key in wanted) || given.getOptionValueSource(key) !== "cli") continue;
    if (JSON.stringify(wanted[key]) === JSON.stringify(made[key])) continue;
    const message = `${option.long}: ${output} says in its conversion.json that it was made otherwise`;
    throw usageError(message, `leave ${option.long} out`);
  }
}

export function verifyCommand(context: Context): Command {
  const command = new Command("verify")
    .description("convert again in memory and compare every byte with an output")
    .argument("<source>", "what the output was made from")
    .argument("<output>", "the folder to check")
    .addHelpText("after", HELP)
    .addHelpText("after", examples("convert verify Qwen3-8B Qwen3-8B-FP8"));
  return outputOptions(threadsOption(conversionOptions(command))).action(
    (source: string, output: string, options: Options, given: Command) =>
      reported(context, options, async (emit) => {
        const made = readSummary(output);
        const how = made ? optionsFor(made, options.calibration) : chosen(options);
        refuseOthers(given, chosen(options), how, output);
        const plan = makePlan(openSource(source, options.tokenizer), how);
        checkVerdict(await verify(plan, output, options.threads, emit), output);
      }),
  );
}
