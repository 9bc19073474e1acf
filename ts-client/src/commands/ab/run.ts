/** `opswap ab run`: an experiment on a running engine, from its file to its verdict. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { Command } from "commander";
import { withTarget } from "../../client/target.js";
import type { OpswapClient } from "../../client/types.js";
import {
  deriveVerdict,
  type ExperimentSpec,
  type ReadSpec,
  readExperiment,
  storeVerdict,
} from "../../experiments/index.js";
import { type Look, runExperiment } from "../../experiments/live/run-experiment.js";
import { OpswapError } from "../../types/errors.js";
import { asRefusal } from "../../types/refusal.js";
import { count, duration } from "../../view/format.js";
import { verdictLines } from "../../view/verdict-lines.js";
import { type Context, EXIT, type ExitCode, engineOptions, examples, type Io, show } from "../context.js";
import { Guard } from "./guard.js";
import { verdictsFolder } from "./judge.js";
import { validate } from "./validate.js";

interface Options {
  engine?: string;
  json?: boolean;
  guarded?: boolean;
}
/** What ends a run from outside; SIGHUP is a terminal that went away. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
type Experiment = ReadSpec & { spec: ExperimentSpec };

const HELP = `
Control and candidate both run behind live calls; what they write is compared and thrown away. With --guarded the candidate
serves meanwhile: a failing verdict switches back to control on all ranks, and so does Ctrl-C. It runs until something follows
from the samples, or until analysis.timeout; the verdict is stored, and \`opswap ab derive\` derives it again.

Exits with 1 where the verdict is fail.`;

export function runCommand(context: Context): Command {
  const command = new Command("run")
    .description("run an experiment on an engine until its verdict")
    .argument("<file>", "the experiment, YAML or JSON")
    .option("--guarded", "let the candidate serve, and take it back when it fails")
    .addHelpText("after", HELP)
    .addHelpText(
      "after",
      examples("ab run rms-norm.yaml", "ab run rms-norm.yaml --guarded --engine smollm2"),
    );
  return engineOptions(command).action(async (file: string, options: Options) => {
    const read = readExperiment(file);
    context.exitCode = await withTarget(options, async (client) => {
      await validate([read], { engine: client.name });
      return run(context.io, client, read, options);
    });
  });
}

async function run(io: Io, client: OpswapClient, read: Experiment, options: Options): Promise<ExitCode> {
  const folder = mkdtempSync(path.join(tmpdir(), "opswap-ab-"));
  const samplesFile = path.join(folder, "samples.jsonl");
  const last = await looked(io, client, read.spec, options.guarded === true, samplesFile);
  const { place, verdict } = stored(read, samplesFile);
  rmSync(folder, { recursive: true, force: true });
  show(io, options.json, { ...verdict, action: last.action, place }, (shown) => [
    ...verdictLines(shown),
    `${last.action}; stored in ${place}`,
  ]);
  return verdict.result === "fail" ? EXIT.failed : EXIT.ok;
}

/** The verdict, kept with its inputs; where that fails the samples stay where they are. */
function stored(read: Experiment, samplesFile: string) {
  try {
    const verdict = deriveVerdict(read, samplesFile);
    return { verdict, place: storeVerdict(verdictsFolder(), verdict, read.text, samplesFile) };
  } catch (thrown) {
    const { code, message } = asRefusal(thrown);
    throw new OpswapError(code, `the verdict is not stored: ${message}`, {
      remedy: `\`opswap ab judge ${read.file} --samples ${samplesFile}\` when that is mended`,
    });
  }
}

/** Looks until the last one. Only a candidate that passed goes on serving, or one that `pause` leaves to a person. */
async function looked(
  io: Io,
  client: OpswapClient,
  spec: ExperimentSpec,
  guarded: boolean,
  samplesFile: string,
): Promise<Look> {
  const [guard, stop] = [new Guard(io, client, spec), new AbortController()];
  const interrupt = () => stop.abort();
  // Until the candidate is taken back: a second Ctrl-C must not leave it serving.
  for (const signal of SIGNALS) process.on(signal, interrupt);
  let last: Look | undefined;
  try {
    const started = guarded ? () => guard.letServe() : undefined;
    for await (const look of runExperiment(client, spec, { samplesFile, signal: stop.signal, started })) {
      last = look;
      io.err(lookLine(look)); // progress: whoever reads the result may close the pipe before
      if (look.action === "promotable" || look.action === "pause") guard.leave();
      else if (look.action !== "hold") await guard.takeBack(look.judgement.reason);
    }
  } finally {
    await guard.takeBack("the experiment broke off");
    for (const signal of SIGNALS) process.off(signal, interrupt);
  }
  if (last === undefined) throw new Error("an experiment ends with a look");
  return last;
}

function lookLine({ elapsedMs, samples, judgement }: Look): string {
  return `${duration(elapsedMs * 1e6)}: ${count(samples)} samples: ${judgement.result}: ${judgement.reason}`;
}
