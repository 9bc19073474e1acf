/** `opswap ab rollback`. */
import { Command } from "commander";
import { withTarget } from "../../client/target.js";
import {
  experimentsFolder,
  isActive,
  runsOf,
  specOfRun,
  storedExperiment,
  writeRun,
} from "../../experiments/store/index.js";
import type { UseResult } from "../../generated/messages.js";
import { asRefusal } from "../../types/refusal.js";
import { errorLines } from "../../view/error-lines.js";
import { switchLines } from "../../view/switch-lines.js";
import { type Context, EXIT, engineOptions, examples, show, type TargetOptions } from "../context.js";
import { type AuditOptions, auditOptions, inAudit } from "../in-audit.js";
import { refusalKept } from "../recorded.js";
import { stopRun } from "./stop.js";

type Options = TargetOptions & AuditOptions;

export function rollbackCommand(context: Context): Command {
  const command = new Command("rollback")
    .description("have control serve on all ranks, whatever the phase; a run that goes on is stopped")
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

/** Control first: what else there is to end waits. */
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
  const use = inAudit(io, asked, about, (client) => client.use([{ op, impl: control }], { ...about, owner }));
  const result = await withTarget(engine === undefined ? {} : { engine }, use);
  if (run === undefined) return result;
  try {
    const ended = isActive(run) || run.phase === "lost" ? await stopRun(io, folder, run) : run;
    writeRun(folder, { ...ended, phase: "stopped", reason: "rolled back" });
  } catch (thrown) {
    // Control serves, which was what mattered.
    for (const line of errorLines(asRefusal(thrown))) io.err(line);
  }
  return result;
}
