/** `opswap convert plan`. */
import { Command, Option } from "commander";
import {
  brokenConstraints,
  type Constraint,
  type ConvertOptions,
  type Estimate,
  estimate,
  makePlan,
  openSource,
  type Plan,
} from "../../convert/index.js";
import { LEFT_OUT, planView } from "../../convert/plan/plan-view.js";
import { verdictLines } from "../../convert/readers/verdicts.js";
import { bytes, count } from "../../view/format.js";
import { table } from "../../view/table.js";
import { type Context, examples, show } from "../context.js";
import { countOption } from "../count-option.js";
import { chosen, conversionOptions, repackOption, type Tokenizer, untilEofOption } from "./options.js";

type View = ReturnType<typeof planView> & { time: Estimate | null };

interface Options extends ConvertOptions, Tokenizer {
  tp: number[];
  measure: boolean;
  json?: boolean;
}

export function planCommand(context: Context): Command {
  const command = new Command("plan")
    .description("say what a conversion would do to every tensor, and why; writes nothing")
    .argument("<source>", "a folder of safetensors or GGUF, or one file")
    .argument("[output]", "where it would go, to see whether there is room")
    .addOption(
      new Option("--tp <list>", "numbers of ranks to check loaders for")
        .argParser(ranks)
        .default([1, 2, 4, 8])
        .conflicts("tensorParallel"),
    )
    .option("--no-measure", "do not convert a sample to an unnamed file beside the output to tell the time")
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      examples("convert plan Qwen3-8B Qwen3-8B-FP8", "convert plan Qwen3-8B --tp 1,8 --json"),
    );
  return untilEofOption(conversionOptions(repackOption(command))).action(
    async (source: string, output: string | undefined, options: Options) => {
      const plan = makePlan(openSource(source, options.tokenizer), chosen(options));
      const shape = planView(plan, brokenConstraints(plan, ranksOf(options)), output);
      const time = options.measure && output && shape.room?.enough ? await estimate(plan, output) : null;
      const view = { ...shape, time };
      show(context.io, options.json, view, (shown) => lines(plan, shown));
    },
  );
}

/** Files for ranks are for that number alone. */
const ranksOf = ({ tp, tensorParallel }: Options) => (tensorParallel === null ? tp : [tensorParallel]);

function ranks(text: string): number[] {
  return text.split(",").map(countOption);
}

function lines(plan: Plan, view: View): string[] {
  const rows = view.tensors.map((one) => [
    one.name,
    `[${one.shape.join(", ")}]`,
    one.dtype,
    one.action === "copy" ? "kept" : (one.output_dtype ?? one.action),
    one.why,
  ]);
  const columns = ["TENSOR", "SHAPE", "FROM", "TO", "WHY"].map((head) => ({ head }));
  const written = view.tensors.filter(({ action }) => action !== LEFT_OUT).length;
  const left = view.left_out.map(({ name, why }) => `  ${name}: ${why}`);
  return [
    ...table(columns, rows),
    "",
    `${count(view.quantized)} of ${count(written)} tensors to ${plan.format.id}; ` +
      `${bytes(view.source_bytes)} become ${bytes(view.output_bytes)}, ${count(view.carried.length)} other files are carried over`,
    ...(view.unknown.length > 0
      ? [`Not known, and carried over as they are: ${view.unknown.join(", ")}`]
      : []),
    ...metadataLines(view),
    ...(left.length > 0 ? ["Left out:", ...left] : []),
    ...foldLines(view),
    roomLine(view),
    timeLine(view),
    ...readerLines(view),
    ...constraintLines(view.constraints),
  ];
}

/** Of a GGUF file. */
function metadataLines({ metadata }: View): string[] {
  if (metadata.length === 0) return [];
  const of = (fate: string) => metadata.filter((one) => one.fate === fate);
  const harmless = of("harmless").map(({ key, why }) => `  ${key}: ${why}`);
  return [
    `${count(metadata.length)} metadata keys: ${count(of("config.json").length)} to config.json, ` +
      `${count(of("tokenizer").length)} to the tokenizer's files, ${count(of("file").length)} of the file itself, ` +
      `${count(harmless.length)} harmless${harmless.length > 0 ? ":" : ""}`,
    ...harmless,
  ];
}

function foldLines({ folds, unscaled }: View): string[] {
  if (folds.length + unscaled.length === 0) return [];
  return [
    `${count(folds.length)} groups of channels are scaled; the exponents are searched while it runs:`,
    ...folds.map(({ from, into }) => `  out of ${from}, into ${into.join(", ")}`),
    ...unscaled.map(({ name, why }) => `  ${name} is not scaled: ${why}`),
  ];
}

function roomLine({ room }: View): string {
  if (room === null) return "";
  return `Disk: needs ${bytes(room.needed)}, ${bytes(room.free)} are free${room.enough ? "" : ": not enough"}`;
}

function timeLine({ time }: View): string {
  if (time === null) return "";
  const { seconds, bytes_per_second: rate, sampled_bytes: sample } = time;
  const took = seconds < 120 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds / 60)} min`;
  return `Time: about ${took}, estimated from ${bytes(sample)} of it converted at ${bytes(Math.round(rate))}/s; verifying comes on top`;
}

/** What each reader does with it, or the one that it is for. */
function readerLines({ readers, options }: View): string[] {
  return readers.filter(({ reader }) => options.for === null || reader === options.for).flatMap(verdictLines);
}

function constraintLines(constraints: readonly Constraint[]): string[] {
  return constraints.flatMap(({ engine, version, tp, problem, tensors, remedy }) => [
    `${engine} ${version} on ${tp} rank${tp === 1 ? "" : "s"}: ${problem}` +
      `${tensors.length > 0 ? ` (${tensors.length} tensors)` : ""}`,
    `  ${remedy}`,
  ]);
}
