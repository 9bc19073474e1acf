/** `opswap convert merge`. */
import { Command } from "commander";
import { makePlan, merge, openSource } from "../../convert/index.js";
import { type Context, examples } from "../context.js";
import { type ConversionOptions, checksumsOption, workOf } from "./conversion.js";
import { chosen, conversionOptions, outputOptions, repackOption, threadsOption } from "./options.js";
import { reported } from "./reporter.js";

/** Publishes what `--shard` has converted. */
export function mergeCommand(context: Context): Command {
  const command = new Command("merge")
    .description("check and publish what the parts of --shard have converted; give the options that they had")
    .argument("<source>", "what the parts were made from")
    .argument("<output>", "the folder that the parts were given")
    .addHelpText("after", examples("convert merge Qwen3-8B Qwen3-8B-FP8"));
  return outputOptions(threadsOption(conversionOptions(repackOption(checksumsOption(command))))).action(
    (source: string, output: string, options: ConversionOptions) =>
      reported(context, options, async (emit) => {
        const plan = makePlan(openSource(source, options.tokenizer), chosen(options));
        await merge(plan, output, workOf(options), emit);
      }),
  );
}
