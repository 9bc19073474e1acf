/** `opswap tune`: which way of planning its calls is best on a device, kept in that device's plan file. */
import { Command, Option } from "commander";
import { z } from "zod";
import { OpswapError } from "../types/errors.js";
import { type Context, EXIT, examples } from "./context.js";
import { readPythonModule } from "./python-module.js";
import { entryOf, merged, type Part, planFileOf, readPlanFile, writePlanFile } from "./tune/plan-file.js";

interface Options {
  device?: string;
  library?: string;
  json?: boolean;
}

const row = z.object({
  op: z.string(),
  implementation: z.string(),
  device: z.string(),
  sources: z.string(),
  source: z.enum(["modelled", "measured"]),
  key: z.string(),
  way: z.string(),
  ways: z.number(),
  model: z.string(),
  cycles: z.optional(z.number()),
  us: z.optional(z.number()),
  invariant_cost: z.optional(z.number()),
});
type Row = z.infer<typeof row>;
const failure = z.object({
  error: z.object({ code: z.string(), message: z.string(), remedy: z.string() }),
});

export function tuneCommand(context: Context): Command {
  return new Command("tune")
    .description("find the best plans of kernels that have several, and keep them for this device")
    .argument("[op...]", "ops of products; all of them when left out")
    .addOption(
      new Option("--device <model>", "h20, h100 or h200: ranked by a model where it is not this card"),
    )
    .addOption(new Option("--library <file>", "this libopswap.so instead of the installed one"))
    .option("--json", "print JSON, a line for each call")
    .addHelpText("after", examples("tune", "tune linear --device h100", "tune gemm_fp8_block128 --json"))
    .action((ops: string[], options: Options) => tune(context, ops, options));
}

async function tune(context: Context, ops: string[], options: Options): Promise<void> {
  const rows: Row[] = [];
  const refusals: OpswapError[] = [];
  const words = [
    ...ops,
    ...(options.device === undefined ? [] : [`--device=${options.device}`]),
    ...(options.library === undefined ? [] : [`--library=${options.library}`]),
  ];
  const code = await readPythonModule("opswap.evidence.tune", words, (line) => {
    const found: unknown = JSON.parse(line);
    const failed = failure.safeParse(found);
    if (failed.success) {
      refusals.push(refusal(failed.data.error));
      return;
    }
    const each = row.parse(found);
    rows.push(each);
    context.io.out(options.json ? line : lineOf(each));
  });
  for (const refused of refusals) throw refused;
  context.exitCode = code;
  if (code === EXIT.ok) keep(context, rows, options.json);
}

const refusal = ({ code, message, remedy }: { code: string; message: string; remedy: string }) =>
  new OpswapError(code, message, { remedy });

function lineOf(found: Row): string {
  const { op, key, way, device, source, model } = found;
  const took = source === "measured" ? `${found.us?.toFixed(1)} us` : `${found.cycles} cycles`;
  const other = way === model ? "" : `; the model takes ${model}`;
  const best = `${way}, ${took}, ${source} for ${device}, best of ${found.ways} ways`;
  return `${op} ${key}: ${best}${other}${invariantCost(found)}`;
}

/** Always modelled: what a plan costs whose sums do not hang on the batch. */
function invariantCost({ invariant_cost: cost }: Row): string {
  return cost === undefined ? "" : `; batch_invariant ${cost.toFixed(2)} times the cycles, modelled`;
}

function keep(context: Context, rows: readonly Row[], json: boolean | undefined): void {
  const [first] = rows;
  if (first === undefined) return;
  const file = planFileOf(first.device);
  writePlanFile(file, merged(readPlanFile(file, first.device), partsOf(rows)));
  if (json) return;
  context.io.out(`kept in ${file}; a process reads it when it starts`);
}

function partsOf(rows: readonly Row[]): Part[] {
  const parts = new Map<string, Part>();
  for (const { op, implementation, sources, ...rest } of rows) {
    const part = parts.get(op) ?? { op, implementation, sources, entries: [] };
    part.entries.push(entryOf(rest));
    parts.set(op, part);
  }
  return [...parts.values()];
}
