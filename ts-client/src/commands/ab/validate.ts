/** `opswap ab validate`. */
import { Command } from "commander";
import { withTarget } from "../../client/target.js";
import {
  checkExperiment,
  checkFreeze,
  type ExperimentSpec,
  type FreezeSpec,
  type ReadSpec,
  readSpec,
  refuseFrozen,
  refuseShared,
} from "../../experiments/index.js";
import { type Context, EXIT, engineOptions, examples, show, type TargetOptions } from "../context.js";
import { refusalKept } from "../recorded.js";

/** Of what an action in the audit says. */
const MOST_ACTION = 1000;

export function validateCommand(context: Context): Command {
  const command = new Command("validate")
    .description(
      "check experiments and freezes: their fields, what they name, and that they may run together",
    )
    .argument("<files...>", "YAML or JSON")
    .addHelpText(
      "after",
      "\nNames are looked up in the library in this process, or in a running engine with --engine.",
    )
    .addHelpText(
      "after",
      examples("ab validate rms-norm.yaml freeze.yaml", "ab validate *.yaml --engine smollm2"),
    );
  return engineOptions(command).action(async (files: string[], options: TargetOptions) => {
    const told = { action: `ab validate ${files.join(" ")}`.slice(0, MOST_ACTION) };
    const read = await refusalKept(context.io, told, async () => {
      const all = files.map(readSpec);
      await validate(all, options);
      return all;
    });
    const result = read.map(({ file, spec }) => ({ file, kind: spec.kind, name: spec.name, valid: true }));
    show(context.io, options.json, result, (all) =>
      all.map((one) => `${one.file}: ${one.kind} ${one.name} is valid`),
    );
    context.exitCode = EXIT.ok;
  });
}

/** Refuses the first thing that is wrong with these files, each by itself and then, unless they need not run at once, together. */
export async function validate(
  read: readonly ReadSpec[],
  options: TargetOptions,
  { togetherToo = true } = {},
): Promise<void> {
  const target = options.engine === undefined ? { local: true } : options;
  await withTarget(target, async (client) => {
    const manifest = await client.manifest();
    const [experiments, freezes]: [ExperimentSpec[], FreezeSpec[]] = [[], []];
    for (const one of read) {
      const { spec } = one;
      if (spec.kind === "Experiment") {
        await checkExperiment(client, { ...one, spec });
        experiments.push(spec);
      } else {
        checkFreeze(manifest, { ...one, spec });
        freezes.push(spec);
      }
    }
    if (!togetherToo) return;
    refuseShared(manifest, experiments);
    refuseFrozen(manifest, freezes, experiments, new Date());
  });
}
