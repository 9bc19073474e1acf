/** `opswap ab apply`. */
import { Command } from "commander";
import { discover } from "../../client/discovery.js";
import { withTarget } from "../../client/target.js";
import { type ReadSpec, readSpec } from "../../experiments/index.js";
import {
  type Applied,
  alone,
  applySpec,
  experimentsFolder,
  isActive,
  refuseOtherKind,
  runsOf,
} from "../../experiments/store/index.js";
import { said } from "../../view/said.js";
import { type Context, EXIT, engineOptions, examples, show, type TargetOptions } from "../context.js";
import { asRequest } from "../freeze.js";
import { recorded } from "../recorded.js";
import { validate } from "./validate.js";
import { whoAmI } from "./who.js";

interface Options extends TargetOptions {
  filename: string[];
}

/** A spec that was applied, and the run that goes on with what was stored before. */
type Shown = Applied & { run: string | null };

const HELP = `
The same file again changes nothing. A run that goes on keeps the spec that it began with; what is applied counts from the
next start. An engine is told of freezes. Names are looked up in the engine that is named, else in the only one that runs, else in the library here.`;

export function applyCommand(context: Context): Command {
  const command = new Command("apply")
    .description("store experiments and freezes under their names, and say what is new")
    .requiredOption("-f, --filename <files...>", "YAML or JSON")
    .addHelpText("after", HELP)
    .addHelpText("after", examples("ab apply -f rms-norm.yaml", "ab apply -f *.yaml --engine smollm2"));
  return engineOptions(command).action(async (options: Options) => {
    const told = { action: `ab apply ${options.filename.join(" ")}`.slice(0, 1000) };
    const shown = await recorded(context.io, told, () => apply(options));
    show(context.io, options.json, shown, (all) => all.flatMap(appliedLines));
    context.exitCode = EXIT.ok;
  });
}

/** All of these files, or none: the first that is wrong is refused before any is stored. */
async function apply({ filename, engine }: Options): Promise<Shown[]> {
  const read = filename.map(readSpec);
  const named = engine ?? onlyEngine();
  await validate(read, named === undefined ? {} : { engine: named }, { togetherToo: false });
  const folder = experimentsFolder();
  for (const one of read) refuseOtherKind(folder, one);
  await freeze(read, engine);
  return alone(folder, () =>
    read.map((one) => {
      const running = runsOf(folder, one.spec.name).find(isActive);
      return { ...applySpec(folder, one, whoAmI()), run: running?.id ?? null };
    }),
  );
}

/** An engine is told of freezes: it is what enforces them. */
async function freeze(read: readonly ReadSpec[], engine: string | undefined): Promise<void> {
  const requests = read.flatMap(({ spec }) => (spec.kind === "Freeze" ? [asRequest(spec)] : []));
  if (requests.length === 0) return;
  await withTarget(engine === undefined ? {} : { engine }, async (client) => {
    for (const request of requests) await client.ask("freeze", request);
  });
}

function onlyEngine(): string | undefined {
  const engines = discover().filter(({ service, state }) => service === "engine" && state === "live");
  return engines.length === 1 ? engines[0]?.name : undefined;
}

function appliedLines({ kind, name, state, changes, run }: Shown): string[] {
  const later = run !== null && state === "updated" ? `; run ${run} goes on with the one before` : "";
  return [
    `${kind} ${name}: ${state}${later}`,
    ...changes.map(({ path, one, other }) => `  ${path}: ${said(one)} -> ${said(other)}`),
  ];
}
