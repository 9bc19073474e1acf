/** `opswap ab plan`. */
import { Command, InvalidArgumentError, Option } from "commander";
import { type BucketForecast, type ExperimentSpec, readExperiment } from "../../experiments/index.js";
import { assumedSpreads, forecast, measuredSpreads } from "../../experiments/plan.js";
import { count } from "../../view/format.js";
import { table } from "../../view/table.js";
import { type Context, EXIT, engineOptions, examples, show, type TargetOptions } from "../context.js";
import { validate } from "./validate.js";

interface Options extends TargetOptions {
  spread: number;
  samples?: string;
}

interface Plan {
  spec: ExperimentSpec;
  buckets: BucketForecast[];
}

export function planCommand(context: Context): Command {
  const command = new Command("plan")
    .description("say what an experiment samples, which slowdown it finds, and after how many samples")
    .argument("<file>", "an experiment, YAML or JSON")
    .addOption(
      new Option("--samples <file>", "measure the spread in samples of an earlier run or an A/A").conflicts(
        "spread",
      ),
    )
    .addOption(
      new Option("--spread <share>", "the spread of ln(candidate / control) to assume instead")
        .argParser(spreadOption)
        .default(0.05, "5%"),
    )
    .addHelpText("after", examples("ab plan rms-norm.yaml", "ab plan rms-norm.yaml --samples aa.jsonl"));
  return engineOptions(command).action(async (file: string, options: Options) => {
    const read = readExperiment(file);
    await validate([read], options);
    const { samples, spread } = options;
    const spreads = samples === undefined ? assumedSpreads(spread) : measuredSpreads(read.spec, samples);
    const plan: Plan = { spec: read.spec, buckets: forecast(read.spec, spreads) };
    show(context.io, options.json, plan, planLines);
    context.exitCode = EXIT.ok;
  });
}

function spreadOption(text: string): number {
  const value = text.endsWith("%") ? Number(text.slice(0, -1)) / 100 : Number(text);
  if (!(value > 0 && value <= 10)) throw new InvalidArgumentError('a share such as "5%" or 0.05');
  return value;
}

function planLines({ spec, buckets }: Plan): string[] {
  const { sampling, analysis } = spec;
  const lines = [
    `${spec.name}: ${spec.op}, ${spec.candidate} against ${spec.control}`,
    `  samples: the first ${count(sampling.first_of_bucket)} calls of each shape bucket, then ${percent(sampling.share)} of calls, at most ${count(sampling.most_of_bucket)} of a bucket`,
    `  budget: ${percent(sampling.budget)} of the time of a step, for both runs`,
    `  gates: ${analysis.metrics.map(({ name }) => name).join(", ")}; alpha ${percent(analysis.alpha)} over all buckets and looks; a failure: ${spec.on_fail}`,
  ];
  return buckets.length === 0 ? lines : [...lines, "", ...forecastLines(buckets)];
}

function forecastLines(buckets: readonly BucketForecast[]): string[] {
  const [first] = buckets;
  const slowdowns = first?.slowdowns ?? [];
  const columns = [
    { head: "bucket" },
    { head: "spread", right: true },
    { head: "finds at its end", right: true },
    { head: "equal passes after", right: true },
    ...slowdowns.map(({ slowdown }) => ({ head: `${percent(slowdown)} after`, right: true })),
  ];
  const rows = buckets.map((one) => [
    one.bucket,
    percent(one.spread),
    one.detectable === undefined ? "nothing" : `${percent(one.detectable)} slower`,
    number(one.toPass),
    ...one.slowdowns.map(({ samples }) => number(samples)),
  ]);
  const source = first?.isMeasured ? "measured" : "assumed; --samples measures it";
  return [
    ...table(columns, rows),
    `spread of a block of two samples, ${source}; numbers are samples of the bucket, in nine of ten runs`,
  ];
}

const number = (samples: number | undefined) => (samples === undefined ? "never" : count(samples));
const percent = (share: number) => `${Number((100 * share).toPrecision(3))}%`;
