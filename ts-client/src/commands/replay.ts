/** `opswap replay`. */
import { Command, Option } from "commander";
import { connectLocal, connectSidecar, OpswapError } from "../client/index.js";
import { type ReplayReport, replayLines } from "../view/replay-lines.js";
import { type Context, EXIT, examples, localOption, show } from "./context.js";
import { countOption } from "./count-option.js";
import { appendReferences } from "./reference-samples.js";
import { replay } from "./replayed.js";

interface Options {
  impl: string[];
  worst: number;
  reference?: boolean;
  samples?: string;
  local?: boolean;
  sidecar?: string;
  json?: boolean;
}

const EXAMPLES = examples(
  "replay rms_norm-T16-H1024-bfloat16-1.safetensors --impl ref,cpu",
  "replay recordings/rms_norm-*.safetensors --impl ref,cpu --reference --samples rms-norm.jsonl",
);

export function replayCommand(context: Context): Command {
  return new Command("replay")
    .description("make recorded calls again on several implementations, and compare what they write")
    .argument("<files...>", "recordings, docs/recordings.md")
    .requiredOption("-i, --impl <names>", "implementations, the first one is the yardstick", names)
    .option("--worst <n>", "elements to show of each output", countOption, 5)
    .option("--reference", "the op's float64 reference is the yardstick of all of them")
    .addOption(
      new Option(
        "--samples <file>",
        "with --reference and --impl CONTROL,CANDIDATE: add what was found to this stream of samples",
      ).implies({ reference: true }),
    )
    .addOption(localOption("a sidecar", "sidecar", "reference", "samples"))
    .option("--sidecar <name>", "the sidecar of this name; the one named sidecar when left out")
    .option("--json", "print JSON; of several files a list")
    .addHelpText("after", "\nExits with 1 where an output is beyond the op's tolerance of the yardstick's.")
    .addHelpText("after", EXAMPLES)
    .action(async (files: string[], options: Options) => {
      const reports = await replayed(files, options);
      if (options.samples !== undefined) appendReferences(options.samples, reports, options.impl);
      const [only] = reports;
      if (reports.length === 1 && only !== undefined) show(context.io, options.json, only, replayLines);
      else show(context.io, options.json, reports, (all) => all.flatMap(replayLines));
      const outside = reports.some(({ arms }) => arms.some((arm) => arm.outside > 0));
      context.exitCode = outside ? EXIT.failed : EXIT.ok;
    });
}

function names(text: string): string[] {
  return text.split(",").filter((name) => name !== "");
}

async function replayed(files: readonly string[], options: Options): Promise<ReplayReport[]> {
  const { local, sidecar, samples, impl } = options;
  if (samples !== undefined && impl.length !== 2)
    throw new OpswapError("OPSWAP_E_USAGE", `--samples: --impl names ${impl.length} implementations`, {
      remedy: "give control and candidate, as --impl ref,cpu",
    });
  const client = await (local ? connectLocal() : connectSidecar(sidecar ? { name: sidecar } : {}));
  try {
    const reports: ReplayReport[] = [];
    for (const file of files) reports.push(await replay(client, file, options));
    return reports;
  } finally {
    await client.close();
  }
}
