/** What the verbs that convert share: options of the work, and the work itself. */
import { Command, InvalidArgumentError, Option } from "commander";
import { convertError } from "../../convert/errors.js";
import {
  type Acceptance,
  accept,
  type ConvertOptions,
  checkVerdict,
  type Emit,
  makePlan,
  openSource,
  type Part,
  parseAcceptance,
  parsePart,
  run,
  runPart,
  runPool,
  verify,
} from "../../convert/index.js";
import type { Context } from "../context.js";
import { countOption } from "../count-option.js";
import {
  chosen,
  conversionOptions,
  type Output,
  outputOptions,
  type Threads,
  type Tokenizer,
  threadsOption,
} from "./options.js";
import { tokens as countOfTokens } from "./perplexity.js";
import { reported } from "./reporter.js";

/** How the work is done; none of these decides a byte. */
interface Work {
  restart?: boolean;
  checksums: boolean;
  shard?: Part;
  workers?: number;
  accept?: Acceptance;
  text?: string;
  tokens?: number;
}
export type ConversionOptions = ConvertOptions & Tokenizer & Threads & Output & Work;

/** A command that converts, and verifies where it is asked to. */
export function converting(context: Context, name: string, description: string, verified: boolean): Command {
  const command = new Command(name)
    .description(description)
    .argument("<source>", "a folder of safetensors or GGUF, or one file")
    .argument("<output>", "the folder to make");
  return outputOptions(threadsOption(conversionOptions(workOptions(command)))).action(
    (source: string, output: string, options: ConversionOptions) =>
      reported(context, options, (emit) => convert(source, output, options, verified, emit)),
  );
}

export function workOptions(command: Command): Command {
  return acceptOptions(checksumsOption(command))
    .option("--restart", "remove an unfinished output first instead of going on with it")
    .addOption(
      new Option("--shard <i/n>", "convert one of n parts, for job arrays; `convert merge` publishes")
        .argParser(part)
        .conflicts(["restart", "workers"]),
    )
    .addOption(
      new Option("--workers <n>", "convert with n processes of this machine")
        .argParser(countOption)
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
function acceptOf(source: string, { accept: asked, text, tokens }: ConversionOptions) {
  if (asked === undefined) return {};
  if (text === undefined)
    throw convertError(
      "OPSWAP_E_CANNOT_CONVERT",
      `--accept ${asked.text} has no text to measure on`,
      "name a file of text by --text",
    );
  const options = { acceptance: asked, text, ...(tokens ? { tokens } : {}) };
  return { accept: (folder: string) => accept(source, folder, options) };
}

export function checksumsOption(command: Command): Command {
  return command.option("--no-checksums", "do not compare files with digests that came with them");
}

function part(text: string): Part {
  const parsed = parsePart(text);
  if (parsed === undefined) throw new InvalidArgumentError("like 1/8, from 1/8 to 8/8");
  return parsed;
}

export const workOf = ({ threads, checksums }: ConversionOptions) => ({
  checksums,
  ...(threads ? { threads } : {}),
});

/** Plans, and does the work as it is asked for. */
export async function convert(
  source: string,
  output: string,
  options: ConversionOptions,
  verified: boolean,
  emit: Emit,
) {
  const plan = makePlan(openSource(source, options.tokenizer), chosen(options));
  const { threads, restart, shard, workers } = options;
  if (shard) return runPart(plan, output, shard, workOf(options), emit);
  if (workers) await runPool(source, plan, output, workers, workOf(options), emit);
  else
    await run(
      plan,
      output,
      { ...workOf(options), ...acceptOf(source, options), ...(restart ? { restart } : {}) },
      emit,
    );
  if (verified) checkVerdict(await verify(plan, output, threads, emit), output);
}
