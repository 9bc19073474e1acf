/** Options that several verbs of `opswap convert` have. */
import { type Command, Option } from "commander";
import { type ConvertOptions, DEFAULTS, POLICIES, READER_IDS, SCALE_RULES } from "../../convert/index.js";
import { countOption } from "../count-option.js";

/** Options that decide what is written. */
export function conversionOptions(command: Command): Command {
  const many = (value: string, before: string[]) => [...before, value];
  const converted = command
    .option("--to <layout>", "the layout to write", DEFAULTS.to)
    .addOption(
      new Option("--for <reader>", "what will load it: refuses what that would not load right")
        .choices(READER_IDS)
        .default(DEFAULTS.for, "any"),
    )
    .addOption(
      new Option("--nonfinite <what>", "NaN and infinity in the source")
        .choices(["refuse", "keep", "zero"])
        .default(DEFAULTS.nonfinite),
    )
    .addOption(
      new Option("--policy <name>", "which matrices are quantised")
        .choices(Object.keys(POLICIES))
        .default(DEFAULTS.policy),
    )
    .option(
      "--keep <pattern>",
      "keep tensors of this name as they are; * is anything; may be repeated",
      many,
      [],
    )
    .option("--quantize <pattern>", "quantise what the policy keeps; may be repeated", many, [])
    .option(
      "--tokenizer <folder>",
      'for GGUF: where the tokenizer\'s files are, or "none"; without it transformers makes them',
    );
  return scaleOptions(ranksOption(converted));
}

function ranksOption(command: Command): Command {
  return command.addOption(
    new Option(
      "--tensor-parallel <n>",
      "files for each of n ranks, for vLLM's --load-format sharded_state; Llama, Qwen2 and Qwen3",
    )
      .argParser(countOption)
      .default(DEFAULTS.tensorParallel, "one checkpoint for any number"),
  );
}

function scaleOptions(command: Command): Command {
  return calibrationOption(command)
    .option(
      "--awq",
      "scale the channels of INT4 layers by those statistics, folded into what makes them",
      DEFAULTS.awq,
    )
    .addOption(
      new Option("--scales <rule>", "amax: of the largest weight; mse: of the least squared error")
        .choices([...SCALE_RULES])
        .default(DEFAULTS.scales, "the layout's own choice"),
    );
}

export function calibrationOption(command: Command): Command {
  return command.addOption(
    new Option(
      "--calibration <file>",
      "safetensors with statistics of the layers' inputs: NAME.absmax, NAME.mean_square, or NAME.input_scale",
    ).default(DEFAULTS.calibration, "none"),
  );
}

export function chosen(options: ConvertOptions): ConvertOptions {
  const { to, nonfinite, policy, keep, quantize, scales, calibration, tensorParallel } = options;
  const [awq, repack] = [options.awq === true, options.repack === true];
  return {
    ...{ to, nonfinite, policy, keep, quantize, scales, calibration, awq, repack, tensorParallel },
    for: options.for,
  };
}

/** For commands that plan what another one does. */
export function repackOption(command: Command): Command {
  return command.option("--repack", "as `convert repack` does it");
}

export interface Tokenizer {
  tokenizer?: string;
}

export interface Threads {
  threads?: number;
}

export function threadsOption(command: Command): Command {
  return command.option("--threads <n>", "threads that read, quantise and write", countOption);
}

export interface Output {
  json?: boolean;
  quiet?: boolean;
  untilEof?: boolean;
}

export function outputOptions(command: Command): Command {
  return untilEofOption(command)
    .option("--json", "print each event as a line of JSON, which is also what is printed to a pipe")
    .option("-q, --quiet", "print errors only");
}

/** Of every command below `convert`, which sees to it. */
export function untilEofOption(command: Command): Command {
  return command.option(
    "--until-eof",
    "end when standard input ends, so that no run outlives what started it",
  );
}
