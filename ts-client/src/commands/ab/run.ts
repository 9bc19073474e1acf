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
import { count, duration } from "../../view/format.js";
import { verdictLines } from "../../view/verdict-lines.js";
import { type Context, EXIT, type ExitCode, engineOptions, examples, type Io, show } from "../context.js";
import { inAudit } from "../in-audit.js";
import { verdictsFolder } from "./judge.js";
import { validate } from "./validate.js";

interface Options {
  engine?: string;
  json?: boolean;
  guarded?: boolean;
}
/** What a request takes, in bytes of plain words. */
const MOST_REASON = 400;
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
  try {
    if (options.guarded) await serve(io, client, read.spec, "candidate", "it is tried");
    const last = await looked(io, client, read, { ...options, samplesFile });
    const verdict = deriveVerdict(read, samplesFile);
    const place = storeVerdict(verdictsFolder(), verdict, read.text, samplesFile);
    show(io, options.json, { ...verdict, action: last.action, place }, (shown) => [
      ...verdictLines(shown),
      `${last.action}; stored in ${place}`,
    ]);
    return verdict.result === "fail" ? EXIT.failed : EXIT.ok;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Looks until the last one. Under --guarded only a candidate that passed goes on serving, or one that `pause` leaves to a person. */
async function looked(
  io: Io,
  client: OpswapClient,
  { spec }: Experiment,
  options: Options & { samplesFile: string },
): Promise<Look> {
  const stop = new AbortController();
  const interrupt = () => stop.abort();
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  let last: Look | undefined;
  try {
    const { samplesFile } = options;
    for await (const look of runExperiment(client, spec, { samplesFile, signal: stop.signal })) {
      last = look;
      if (!options.json) io.out(lookLine(look));
    }
  } finally {
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
    const stays = last?.action === "promotable" || last?.action === "pause";
    if (options.guarded && !stays)
      await serve(io, client, spec, "control", last?.judgement.reason ?? "the experiment broke off");
  }
  if (last === undefined) throw new Error("an experiment ends with a look");
  return last;
}

/** Switches to one arm, with the experiment's name and the reason in log and audit. */
async function serve(
  io: Io,
  client: OpswapClient,
  { name, op, ticket, ...arms }: ExperimentSpec,
  arm: "control" | "candidate",
  why: string,
): Promise<void> {
  const reason = `experiment ${name}: ${why}`.slice(0, MOST_REASON);
  const about = { reason, ...(ticket !== undefined && { ticket }) };
  const change = { op, impl: arms[arm] };
  const asked = { action: "use", to: { [op]: change.impl } };
  await inAudit(io, asked, about, (engine) => engine.use([change], { reason }))(client);
}

function lookLine({ elapsedMs, samples, judgement }: Look): string {
  return `${duration(elapsedMs * 1e6)}: ${count(samples)} samples: ${judgement.result}: ${judgement.reason}`;
}
