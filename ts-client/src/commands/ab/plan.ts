/** `opswap ab plan`. */
import { Command, InvalidArgumentError, Option } from "commander";
import { type BucketForecast, type ExperimentSpec, readExperiment } from "../../experiments/index.js";
import { assumedSpreads, forecast, measuredSpreads, type Spread } from "../../experiments/plan.js";
import {
  type Run,
  runsOf,
  type StoredExperiment,
  storedExperiment,
  storedNames,
} from "../../experiments/store/index.js";
import { forecastLines, percent } from "../../view/forecast-lines.js";
import { count } from "../../view/format.js";
import { type Context, EXIT, engineOptions, examples, show, type TargetOptions } from "../context.js";
import { refusalKept } from "../recorded.js";
import { validate } from "./validate.js";

interface Options extends TargetOptions {
  spread: number;
  samples?: string;
}

interface Forecast {
  /** Where the spreads are from. */
  source: string;
  buckets: BucketForecast[];
}

interface Plan extends Forecast {
  spec: ExperimentSpec;
}

const ASSUMED = 0.05;

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
        .default(ASSUMED, "5%"),
    )
    .addHelpText("after", examples("ab plan rms-norm.yaml", "ab plan rms-norm.yaml --samples aa.jsonl"));
  return engineOptions(command).action(async (file: string, options: Options) => {
    const plan = await refusalKept(context.io, { action: `ab plan ${file}` }, () => planned(file, options));
    show(context.io, options.json, plan, planLines);
    context.exitCode = EXIT.ok;
  });
}

async function planned(file: string, options: Options): Promise<Plan> {
  const read = readExperiment(file);
  await validate([read], options);
  const { samples, spread } = options;
  const spreads = samples === undefined ? assumedSpreads(spread) : measuredSpreads(read.spec, samples);
  const source = samples === undefined ? "assumed; --samples measures it" : `measured in ${samples}`;
  return { spec: read.spec, source, buckets: forecast(read.spec, spreads) };
}

/** The plan of a stored experiment: from the spread of its last run, else of another run of its op, else from an assumed one. */
export function plannedFor(folder: string, { spec }: StoredExperiment): Forecast {
  for (const name of [spec.name, ...storedNames(folder)]) {
    const run = runsOf(folder, name).find((one) => spreadsOf(one).length > 0);
    if (run === undefined || !isOfOp(folder, name, spec.op)) continue;
    return { source: `measured in run ${run.id} of ${name}`, buckets: forecast(spec, spreadsOf(run)) };
  }
  return {
    source: "assumed: no run of this op has measured it",
    buckets: forecast(spec, assumedSpreads(ASSUMED)),
  };
}

function isOfOp(folder: string, name: string, op: string): boolean {
  return storedExperiment(folder, name).spec.op === op;
}

function spreadsOf({ look }: Run): Spread[] {
  return (look?.buckets ?? []).flatMap(({ bucket, latency }, i) =>
    latency === null ? [] : [{ bucket, place: i + 1, spread: latency.spread, isMeasured: true }],
  );
}

function spreadOption(text: string): number {
  const value = text.endsWith("%") ? Number(text.slice(0, -1)) / 100 : Number(text);
  if (!(value > 0 && value <= 10)) throw new InvalidArgumentError('a share such as "5%" or 0.05');
  return value;
}

function planLines({ spec, ...planned }: Plan): string[] {
  const { sampling, analysis } = spec;
  const lines = [
    `${spec.name}: ${spec.op}, ${spec.candidate} against ${spec.control}`,
    `  samples: the first ${count(sampling.first_of_bucket)} calls of each shape bucket, then ${percent(sampling.share)} of calls, at most ${count(sampling.most_of_bucket)} of a bucket`,
    `  budget: ${percent(sampling.budget)} of the time of a step, for both runs`,
    `  gates: ${analysis.metrics.map(({ name }) => name).join(", ")}; alpha ${percent(analysis.alpha)} over all buckets and looks; a failure: ${spec.on_fail}`,
  ];
  return planned.buckets.length === 0 ? lines : [...lines, "", ...forecastLines(planned)];
}
