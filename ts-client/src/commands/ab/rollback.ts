/** `opswap ab rollback`. */
import { Command } from "commander";
import { withTarget } from "../../client/target.js";
import type { OpswapClient, UseOptions } from "../../client/types.js";
import type { ExperimentSpec } from "../../experiments/index.js";
import {
  experimentsFolder,
  isActive,
  runsOf,
  specOfRun,
  storedExperiment,
  writeRun,
} from "../../experiments/store/index.js";
import type { UseResult } from "../../generated/messages.js";
import { OpswapError } from "../../types/errors.js";
import { asRefusal } from "../../types/refusal.js";
import { errorLines } from "../../view/error-lines.js";
import { switchLines } from "../../view/switch-lines.js";
import { type Context, EXIT, engineOptions, examples, show, type TargetOptions } from "../context.js";
import { type AuditOptions, auditOptions, inAudit } from "../in-audit.js";
import { refusalKept } from "../recorded.js";
import { isOf } from "./guard.js";
import { stopRun } from "./stop.js";

type Options = TargetOptions & AuditOptions;

export function rollbackCommand(context: Context): Command {
  const command = new Command("rollback")
    .description(
      "end what serves by an experiment's lease, so that what ran before runs again; else have control serve; a run that goes on is stopped",
    )
    .argument("<name>", "the experiment")
    .addHelpText("after", examples("ab rollback rms-norm-cpu --reason 'NaNs since Tuesday'"));
  return engineOptions(auditOptions(command)).action(async (name: string, options: Options) => {
    const result = await rollback(context, name, options);
    show(context.io, options.json, result, switchLines);
    context.exitCode = EXIT.ok;
  });
}

/** The last run and its spec: what was applied since may be about another op than what serves. */
function found(folder: string, name: string) {
  const [run] = runsOf(folder, name);
  const { spec } = run === undefined ? storedExperiment(folder, name) : specOfRun(folder, run);
  return { run, spec };
}

/**
 * What the experiment lets serve by an override returns to what ran before it, as the engine's own return does. Where there is none
 * (it was promoted, or somebody chose otherwise) control becomes the choice.
 */
async function back(client: OpswapClient, spec: ExperimentSpec, about: UseOptions): Promise<UseResult> {
  const { op, control, candidate, owner } = spec;
  const { overrides } = await client.status();
  if (overrides.some((one) => isOf(spec, one))) {
    try {
      return await client.ask("end_override", { op, impl: candidate, ...(owner !== undefined && { owner }) });
    } catch (thrown) {
      // It has ended meanwhile.
      if (!(thrown instanceof OpswapError) || thrown.code !== "OPSWAP_E_LEASE") throw thrown;
    }
  }
  return client.use([{ op, impl: control }], about);
}

/** What serves goes back first: what else there is to end waits. */
async function rollback({ io }: Context, name: string, options: Options): Promise<UseResult> {
  const folder = experimentsFolder();
  const action = `ab rollback ${name}`;
  const { run, spec } = await refusalKept(io, { action }, () => found(folder, name));
  const { op, control, owner } = spec;
  const engine = options.engine ?? run?.engine;
  const ticket = options.ticket ?? spec.ticket;
  const reason = options.reason ?? `experiment ${name}: rolled back`;
  const about = { reason, ...(ticket !== undefined && { ticket }) };
  const asked = { action, to: { [op]: control } };
  const use = inAudit(io, asked, about, (client) => back(client, spec, { ...about, owner }));
  const result = await withTarget(engine === undefined ? {} : { engine }, use);
  if (run === undefined) return result;
  try {
    const ended = isActive(run) || run.phase === "lost" ? await stopRun(io, folder, run) : run;
    writeRun(folder, { ...ended, phase: "stopped", reason: "rolled back" });
  } catch (thrown) {
    // The candidate serves no longer, which was what mattered.
    for (const line of errorLines(asRefusal(thrown))) io.err(line);
  }
  return result;
}
