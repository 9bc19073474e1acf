import { Command, InvalidArgumentError, Option } from "commander";
import { convertError } from "../../convert/errors.js";
import {
  type Acceptance,
  accept,
  type ConvertOptions,
  checkVerdict,
  DEFAULTS,
  type Emit,
  makePlan,
  merge,
  openSource,
  type Part,
  parseAcceptance,
  parsePart,
  run,
  runPart,
  runPool,
  verify,
} from "../../convert/index.js";
import { type Context, examples } from "../context.js";
import { whole } from "../whole.js";
import {
  calibrationOption,
  chosen,
  conversionOptions,
  type Output,
  outputOptions,
  repackOption,
  type Threads,
  type Tokenizer,
  threadsOption,
} from "./options.js";
import { tokens as countOfTokens } from "./perplexity.js";
import { reported } from "./reporter.js";

interface Spread {
  restart?: boolean;
  checksums: boolean;
  shard?: Part;
  workers?: number;
  accept?: Acceptance;
  text?: string;
  tokens?: number;
}
type Options = ConvertOptions & Tokenizer & Threads & Output & Spread;

/** Plan, run and verify. */
export function allCommand(context: Context): Command {
  return converting(context, "all", "convert and verify", true);
}

export function runCommand(context: Context): Command {
  return converting(context, "run", "convert, without the verification afterwards", false).addHelpText(
    "after",
    examples(
      "convert run Qwen3-8B Qwen3-8B-FP8",
      "convert run Qwen3-8B Qwen3-8B-FP8 --json | tee log.jsonl",
      "convert run Qwen3-8B Qwen3-8B-FP8 --shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT",
    ),
  );
}

function converting(context: Context, name: string, description: string, verified: boolean): Command {
  const command = new Command(name)
    .description(description)
    .argument("<source>", "a folder of safetensors or GGUF, or one file")
    .argument("<output>", "the folder to make");
  return outputOptions(threadsOption(conversionOptions(howOptions(command)))).action(
    (source: string, output: string, options: Options) =>
      reported(context, options, (emit) => convert(source, output, options, verified, emit)),
  );
}

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
  return outputOptions(threadsOption(calibrationOption(howOptions(command)))).action(
    (source: string, output: string, options: Options) =>
      reported(context, options, (emit) =>
        convert(source, output, { ...DEFAULTS, ...options, repack: true }, true, emit),
      ),
  );
}

function howOptions(command: Command): Command {
  return acceptOptions(checksumsOption(command))
    .option("--restart", "remove an unfinished output first instead of going on with it")
    .addOption(
      new Option("--shard <i/n>", "convert one of n parts, for job arrays; `convert merge` publishes")
        .argParser(part)
        .conflicts(["restart", "workers"]),
    )
    .addOption(
      new Option("--workers <n>", "convert with n processes of this machine")
        .argParser(whole)
        .conflicts("restart"),
    );
}

function acceptOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--accept <limit>",
        'publish only below a perplexity: "ppl<1.01x" the source\'s, or "ppl<12.5"',
      )
        .argParser(acceptance)
        .conflicts(["shard", "workers"]),
    )
    .option("--text <file>", "for --accept: a file of text in UTF-8")
    .option("--tokens <n>", "for --accept: how many tokens of it, in windows of 512", countOfTokens);
}

function acceptance(text: string): Acceptance {
  const parsed = parseAcceptance(text);
  if (parsed === undefined) throw new InvalidArgumentError('like "ppl<1.01x" or "ppl<12.5"');
  return parsed;
}

/** What is measured before an output is published; undefined where nothing is asked for. */
function acceptOf(source: string, { accept: asked, text, tokens }: Options) {
  if (asked === undefined) return {};
  if (text === undefined)
    throw convertError(
      "OPSWAP_E_CANNOT_CONVERT",
      `--accept ${asked.text} has no text to measure on`,
      "name a file of text by --text",
    );
  const how = { acceptance: asked, text, ...(tokens ? { tokens } : {}) };
  return { accept: (folder: string) => accept(source, folder, how) };
}

/** Publishes what `--shard` has converted. */
export function mergeCommand(context: Context): Command {
  const command = new Command("merge")
    .description("check and publish what the parts of --shard have converted; give the options that they had")
    .argument("<source>", "what the parts were made from")
    .argument("<output>", "the folder that the parts were given")
    .addHelpText("after", examples("convert merge Qwen3-8B Qwen3-8B-FP8"));
  return outputOptions(threadsOption(conversionOptions(repackOption(checksumsOption(command))))).action(
    (source: string, output: string, options: Options) =>
      reported(context, options, async (emit) => {
        const plan = makePlan(openSource(source, options.tokenizer), chosen(options));
        await merge(plan, output, howOf(options), emit);
      }),
  );
}

function checksumsOption(command: Command): Command {
  return command.option("--no-checksums", "do not compare files with digests that came with them");
}

function part(text: string): Part {
  const parsed = parsePart(text);
  if (parsed === undefined) throw new InvalidArgumentError("like 1/8, from 1/8 to 8/8");
  return parsed;
}

const howOf = ({ threads, checksums }: Options) => ({ checksums, ...(threads ? { threads } : {}) });

async function convert(source: string, output: string, options: Options, verified: boolean, emit: Emit) {
  const plan = makePlan(openSource(source, options.tokenizer), chosen(options));
  const { threads, restart, shard, workers } = options;
  if (shard) return runPart(plan, output, shard, howOf(options), emit);
  if (workers) await runPool(source, plan, output, workers, howOf(options), emit);
  else
    await run(
      plan,
      output,
      { ...howOf(options), ...acceptOf(source, options), ...(restart ? { restart } : {}) },
      emit,
    );
  if (verified) checkVerdict(await verify(plan, output, threads, emit), output);
}
