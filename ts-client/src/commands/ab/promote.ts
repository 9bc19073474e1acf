/** `opswap ab promote`. */
import path from "node:path";
import { Command } from "commander";
import { withTarget } from "../../client/target.js";
import type { OpswapClient } from "../../client/types.js";
import { auditedSwitch } from "../../experiments/audit/audited-switch.js";
import { FileAudit } from "../../experiments/audit/file-store.js";
import { checkExperiment, deriveAgain } from "../../experiments/index.js";
import { digestOf } from "../../experiments/live/candidate.js";
import { stateFolder } from "../../experiments/state-folder.js";
import {
  alone,
  experimentsFolder,
  isActive,
  type Run,
  runsOf,
  type StoredExperiment,
  storedExperiment,
  writeRun,
} from "../../experiments/store/index.js";
import { readVerdict, type StoredVerdict } from "../../experiments/verdict/store.js";
import { OpswapError } from "../../types/errors.js";
import { asRefusal } from "../../types/refusal.js";
import { errorLines } from "../../view/error-lines.js";
import { switchLines } from "../../view/switch-lines.js";
import { type Context, EXIT, engineOptions, examples, show, type TargetOptions } from "../context.js";
import { type AuditOptions, auditOptions } from "../in-audit.js";
import { keep, type Told } from "../recorded.js";
import { verdictsFolder } from "./judge.js";

type Options = TargetOptions & AuditOptions;

const HELP = `
Only a stored verdict pass of the spec as it is stored now, on the build and the model that the engine runs, allows it;
whatever is undecided promotes nothing. With promotion.ttl in the spec it goes back to control after that time.`;

export function promoteCommand(context: Context): Command {
  const command = new Command("promote")
    .description("make the candidate of an experiment that passed the engine's choice")
    .argument("<name>", "the experiment")
    .addHelpText("after", HELP)
    .addHelpText("after", examples("ab promote rms-norm-cpu", "ab promote rms-norm-cpu --ticket OPS-1234"));
  return engineOptions(auditOptions(command)).action(async (name: string, options: Options) => {
    const result = await promote(context, name, options);
    show(context.io, options.json, result, switchLines);
    context.exitCode = EXIT.ok;
  });
}

async function promote({ io }: Context, name: string, options: Options) {
  const folder = experimentsFolder();
  const told: Told = { action: `ab promote ${name}` };
  // What comes of the switch is kept by the switch itself.
  let isAsked = false;
  try {
    const stored = storedExperiment(folder, name);
    const { run, verdict } = passedRun(folder, stored);
    return await withTarget({ engine: options.engine ?? run.engine }, (client) =>
      alone(folder, async () => {
        told.engine = client.name;
        refuseNewer(folder, run);
        const ifEpoch = await refuseOther(client, stored, verdict);
        isAsked = true;
        const result = await use({ io, client, stored, verdict, ifEpoch }, options);
        writeRun(folder, { ...run, phase: "promoted", reason: `verdict ${verdict.id}` });
        return result;
      }),
    );
  } catch (thrown) {
    const { code, message } = asRefusal(thrown);
    if (!isAsked) await keep(io, { ...told, outcome: "refused", error: { code, message } });
    throw thrown;
  }
}

/** One that somebody has started since its verdict was read. */
function refuseNewer(folder: string, { experiment, id }: Run): void {
  const [newest] = runsOf(folder, experiment);
  if (newest !== undefined && newest.id !== id)
    throw notPassed(experiment, `run ${newest.id} was started meanwhile`);
}

/** The newest run, and its verdict: an older pass does not outweigh what was seen since. */
function passedRun(folder: string, { spec, sha256 }: StoredExperiment): { run: Run; verdict: StoredVerdict } {
  const [run] = runsOf(folder, spec.name);
  if (run === undefined) throw notPassed(spec.name, "it has never run");
  if (isActive(run)) throw notPassed(spec.name, `run ${run.id} goes on, in phase ${run.phase}`);
  if (run.verdict === null)
    throw notPassed(spec.name, `run ${run.id} has no verdict: ${run.phase}: ${run.reason}`);
  if (run.spec_sha256 !== sha256)
    throw notPassed(spec.name, `run ${run.id} was of another spec than is stored now`);
  const place = path.join(verdictsFolder(), run.verdict);
  const { differences } = deriveAgain(verdictsFolder(), place);
  const verdict = readVerdict(place);
  if (differences.length > 0)
    throw notPassed(
      spec.name,
      `verdict ${run.verdict} does not follow from what is stored with it: \`opswap ab derive ${run.verdict}\``,
    );
  if (verdict.spec.sha256 !== sha256) throw notPassed(spec.name, `verdict ${verdict.id} is of another spec`);
  if (verdict.result !== "pass")
    throw notPassed(spec.name, `verdict ${verdict.id} is ${verdict.result}: ${verdict.reason}`);
  return { run, verdict };
}

/** A verdict holds for the build and the model that it was made on. Returns the epoch that was looked at. */
async function refuseOther(
  client: OpswapClient,
  stored: StoredExperiment,
  verdict: StoredVerdict,
): Promise<number> {
  const { epoch, ranks, framework } = await client.status();
  await checkExperiment(client, stored);
  const { name } = stored.spec;
  const other = ranks.find((rank) => rank.build_digest !== verdict.samples.build);
  if (other)
    throw notPassed(
      name,
      `verdict ${verdict.id} is of build ${verdict.samples.build}, rank ${other.rank} runs ${other.build_digest}`,
    );
  const { model, candidate_digest: digest } = verdict.samples;
  if ((await digestOf(client, stored.spec)) !== digest)
    throw notPassed(name, `verdict ${verdict.id} is of another file of ${stored.spec.candidate}`);
  if (model !== undefined && framework !== null && framework.model !== model)
    throw notPassed(
      name,
      `verdict ${verdict.id} is of model ${model}, ${client.name} serves ${framework.model}`,
    );
  return epoch;
}

interface Promotion {
  io: Context["io"];
  client: OpswapClient;
  stored: StoredExperiment;
  verdict: StoredVerdict;
  ifEpoch: number;
}

function use({ io, client, stored: { spec }, verdict, ifEpoch }: Promotion, options: AuditOptions) {
  const { name, op, candidate, owner, promotion } = spec;
  const ticket = options.ticket ?? spec.ticket;
  const reason = `experiment ${name}: promoted by verdict ${verdict.id}${options.reason ? `; ${options.reason}` : ""}`;
  const asked = { action: `ab promote ${name}`, to: { [op]: candidate } };
  const unaudited = (error: OpswapError) => {
    for (const line of errorLines(error)) io.err(line);
  };
  const about = { why: reason, ticket, verdict: verdict.id, unaudited };
  const ttl = promotion.ttl === undefined ? {} : { ttlMs: promotion.ttl };
  const change = () => client.use([{ op, impl: candidate }], { ...ttl, ifEpoch, reason, ticket, owner });
  return auditedSwitch(client, new FileAudit(stateFolder()), asked, about, change);
}

function notPassed(name: string, what: string): OpswapError {
  return new OpswapError("OPSWAP_E_NOT_PASSED", `${name} cannot be promoted: ${what}`);
}
