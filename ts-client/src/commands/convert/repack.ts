/** `opswap convert repack`. */
import { Command, Option } from "commander";
import { DEFAULTS } from "../../convert/index.js";
import { type Context, examples } from "../context.js";
import { type ConversionOptions, convert, workOptions } from "./conversion.js";
import { calibrationOption, outputOptions, threadsOption } from "./options.js";
import { reported } from "./reporter.js";

/** Another layout of the same codes; its options that decide bytes are fewer. */
export function repackCommand(context: Context): Command {
  const command = new Command("repack")
    .description(
      "write another layout or dialect of the same codes and scales, and verify it; quantises nothing",
    )
    .argument("<source>", "a folder of safetensors, or one file, that is quantised")
    .argument("<output>", "the folder to make")
    .requiredOption("--to <layout>", "the layout to write")
    .addOption(
      new Option("--nonfinite <what>", "NaN and infinity in the source")
        .choices(["refuse", "keep"])
        .default(DEFAULTS.nonfinite),
    )
    .addHelpText("after", examples("convert repack DeepSeek-V3 DeepSeek-V3-CT --to ct_fp8_block"));
  return outputOptions(threadsOption(calibrationOption(workOptions(command)))).action(
    (source: string, output: string, options: ConversionOptions) =>
      reported(context, options, (emit) =>
        convert(source, output, { ...DEFAULTS, ...options, repack: true }, true, emit),
      ),
  );
}
