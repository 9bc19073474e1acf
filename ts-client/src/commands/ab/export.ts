/** `opswap ab export`. */
import path from "node:path";
import { Command, Option } from "commander";
import { traces } from "../../experiments/fib-trace.js";
import { experimentsFolder, runsOf, storedExperiment } from "../../experiments/store/index.js";
import { readVerdict } from "../../experiments/verdict/store.js";
import { OpswapError } from "../../types/errors.js";
import { markdown } from "../../view/experiment-markdown.js";
import { jsonPieces } from "../../view/json-lines.js";
import { type Context, EXIT, examples } from "../context.js";
import { verdictsFolder } from "./judge.js";

const FORMATS = ["json", "fib-trace", "markdown"] as const;

export function exportCommand(context: Context): Command {
  return new Command("export")
    .description("an experiment, its runs and its last verdict, for other tools and for people")
    .argument("<name>", "the experiment")
    .addOption(
      new Option("--format <format>", "json; fib-trace, a Trace of FlashInfer-Bench a bucket; markdown")
        .choices(FORMATS)
        .default("json"),
    )
    .addHelpText("after", examples("ab export rms-norm-cpu --format markdown > verdict.md"))
    .action((name: string, { format }: { format: (typeof FORMATS)[number] }) => {
      for (const line of exported(name, format)) context.io.out(line);
      context.exitCode = EXIT.ok;
    });
}

function exported(name: string, format: (typeof FORMATS)[number]): Iterable<string> {
  const folder = experimentsFolder();
  const { spec, sha256, time, who } = storedExperiment(folder, name);
  const runs = runsOf(folder, name);
  const judged = runs.find(({ verdict }) => verdict !== null);
  const place = judged?.verdict ? path.join(verdictsFolder(), judged.verdict) : undefined;
  const verdict = place === undefined ? null : readVerdict(place);
  if (format === "json") return jsonPieces({ spec, sha256, applied: { time, who }, runs, verdict });
  if (format === "markdown") return markdown({ spec, run: judged ?? null, verdict });
  if (judged === undefined || place === undefined || verdict === null)
    throw new OpswapError("OPSWAP_E_RUNS", `${name} has no verdict, of which a trace could tell`, {
      remedy: `\`opswap ab start ${name}\``,
    });
  return traces(spec, verdict, place, judged.ended ?? judged.started).map((trace) => JSON.stringify(trace));
}
