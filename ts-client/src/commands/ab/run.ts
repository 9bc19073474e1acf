/** `opswap ab run`: an experiment on a running engine, from its file to its verdict, in the foreground. */
import { Command } from "commander";
import { withTarget } from "../../client/target.js";
import { readExperiment } from "../../experiments/index.js";
import {
  alone,
  applySpec,
  createRun,
  experimentsFolder,
  storedExperiment,
} from "../../experiments/store/index.js";
import { verdictLines } from "../../view/verdict-lines.js";
import { type Context, EXIT, type ExitCode, engineOptions, examples, type Io, show } from "../context.js";
import { recorded } from "../recorded.js";
import { type Conducted, Conductor } from "./conduct.js";
import { preflight } from "./preflight.js";
import { settle } from "./settle.js";
import { clearLost } from "./stop.js";
import { whoAmI } from "./who.js";

interface Options {
  engine?: string;
  json?: boolean;
  guarded?: boolean;
}

export const RUN_HELP = `
Control and candidate both run behind live calls; what they write is compared and thrown away. With --guarded the candidate
serves meanwhile, by a lease: a failing verdict switches back to control on all ranks, and so does the engine by itself when
nobody renews the lease. It runs until something follows from the samples, or until analysis.timeout; the verdict is stored,
and \`opswap ab derive\` derives it again.`;

export const RUN_CODES = `
Exits with 0 where the verdict is pass, with 1 where it is fail, and with 4 where it is undecided.`;

export function runCommand(context: Context): Command {
  const command = new Command("run")
    .description("apply an experiment and run it on an engine until its verdict")
    .argument("<file>", "the experiment, YAML or JSON")
    .option("--guarded", "let the candidate serve, and take it back when it fails")
    .addHelpText("after", RUN_HELP)
    .addHelpText("after", RUN_CODES)
    .addHelpText(
      "after",
      examples("ab run rms-norm.yaml", "ab run rms-norm.yaml --guarded --engine smollm2"),
    );
  return engineOptions(command).action(async (file: string, options: Options) => {
    context.exitCode = await recorded(context.io, { action: `ab run ${file}` }, (told) =>
      withTarget(options, async (client) => {
        const [read, folder, who] = [readExperiment(file), experimentsFolder(), whoAmI()];
        const { name, op, candidate, ticket } = read.spec;
        Object.assign(told, { action: `ab run ${name}`, engine: client.name, ticket: ticket ?? null });
        const mode = options.guarded ? "guarded" : "shadow";
        await settle(context.io, folder, name);
        const run = await alone(folder, async () => {
          await clearLost(context.io, folder, name, client.name);
          await preflight(client, read, { folder, mode });
          applySpec(folder, read, who);
          return createRun(folder, storedExperiment(folder, name), { engine: client.name, mode, who });
        });
        const conducted = await new Conductor(context.io, client, folder, run).conduct();
        Object.assign(told, {
          why: `${op}, ${candidate}: ${conducted.run.phase}`,
          verdict: conducted.verdict.id,
        });
        return ended(context.io, conducted, options);
      }),
    );
  });
}

/** Prints how a run ended, and says how to exit. */
export function ended(
  io: Io,
  { run, verdict, action, place }: Conducted,
  { json }: { json?: boolean },
): ExitCode {
  show(io, json, { ...verdict, action, place, run: run.id, phase: run.phase }, (shown) => [
    ...verdictLines(shown),
    `${run.phase}; stored in ${place}`,
    ...(run.phase === "passed"
      ? [`\`opswap ab promote ${run.experiment}\` makes it the engine's choice`]
      : []),
  ]);
  return exitOf(verdict.result);
}

/** What a script is told of a verdict. */
export function exitOf(result: string): ExitCode {
  return result === "pass" ? EXIT.ok : result === "fail" ? EXIT.failed : EXIT.undecided;
}
