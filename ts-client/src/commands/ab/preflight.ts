/** What must hold before an experiment starts on an engine: names, freezes, nobody else at its ops, and control serving where it is guarded. */
import type { Manifest } from "../../client/manifest.js";
import type { OpswapClient } from "../../client/types.js";
import {
  checkExperiment,
  type ExperimentSpec,
  type FreezeSpec,
  type ReadSpec,
  refuseFrozen,
  refuseShared,
} from "../../experiments/index.js";
import { relatedOps } from "../../experiments/spec/exclusion.js";
import { isActive, type Run, runsOf, specOfRun, storedNames } from "../../experiments/store/index.js";
import type { Freeze, RankShadow, StatusResult } from "../../generated/messages.js";
import { OpswapError } from "../../types/errors.js";

type Experiment = ReadSpec & { spec: ExperimentSpec };

/** Refuses the first thing that is in the way. `folder` is the store, whose runs on the same engine exclude others. */
export async function preflight(
  client: OpswapClient,
  read: Experiment,
  { folder, mode }: { folder: string; mode: Run["mode"] },
): Promise<void> {
  await checkExperiment(client, read);
  const [manifest, status] = [await client.manifest(), await client.status()];
  refuseFrozen(manifest, status.freezes.map(asSpec), [read.spec], new Date());
  refuseBarred(status, read.spec);
  refuseRunning(manifest, folder, client.name, read.spec);
  await refuseShadows(client, manifest, read.spec);
  if (mode === "guarded") await refuseOtherServing(client, status, read.spec);
}

function asSpec({ from_ms, until_ms, ...freeze }: Freeze): FreezeSpec {
  const time = (ms: number) => new Date(ms).toISOString();
  return { kind: "Freeze", schema: 1, ...freeze, from: time(from_ms), until: time(until_ms) };
}

function refuseBarred({ barred }: StatusResult, { op, candidate }: ExperimentSpec): void {
  const found = barred.find((one) => one.op === op && one.impl === candidate);
  if (found) throw new OpswapError("OPSWAP_E_BARRED", `${candidate} of ${op} is barred: ${found.reason}`);
}

/** Runs of this store on this engine: an experiment runs once, and none beside it that shares an op. */
function refuseRunning(manifest: Manifest, folder: string, engine: string, spec: ExperimentSpec): void {
  for (const name of storedNames(folder)) {
    const active = runsOf(folder, name).find(
      (run) => isActive(run) && (name === spec.name || run.engine === engine),
    );
    if (active === undefined) continue;
    if (name !== spec.name) refuseShared(manifest, [specOfRun(folder, active).spec, spec]);
    else
      throw new OpswapError(
        "OPSWAP_E_RUNS",
        `${name} runs on ${active.engine} since ${active.started}, started by ${active.who}`,
        { remedy: `\`opswap ab watch ${name}\` follows it, \`opswap ab stop ${name}\` ends it` },
      );
  }
}

/** Shadows of anybody, in any state folder: the engine tells. */
async function refuseShadows(client: OpswapClient, manifest: Manifest, spec: ExperimentSpec): Promise<void> {
  for (const op of relatedOps(manifest, spec.op)) {
    const other = (await shadowOf(client, op)).find(({ running }) => running);
    if (other === undefined) continue;
    const what = `a shadow of ${op} runs on ${client.name}, ${other.candidate} against ${other.control}`;
    throw new OpswapError(
      "OPSWAP_E_EXCLUDED",
      `${spec.name}: ${what}: of two experiments on one op neither could be judged`,
      {
        remedy: `wait for it, or end it: \`opswap shadow stop ${op}\``,
      },
    );
  }
}

/** The last shadow of an op on each rank; none where there never was one. */
export async function shadowOf(client: OpswapClient, op: string): Promise<RankShadow[]> {
  try {
    return (await client.ask("shadow_status", { op })).ranks;
  } catch (thrown) {
    if (thrown instanceof OpswapError && thrown.code === "OPSWAP_E_ARGUMENT") return [];
    throw thrown;
  }
}

/** What is taken back is control, so control must serve now, or the candidate by a lease that an earlier run left. */
async function refuseOtherServing(
  client: OpswapClient,
  status: StatusResult,
  spec: ExperimentSpec,
): Promise<void> {
  const { name, op, control, candidate } = spec;
  const isLeft = status.overrides.some(
    (one) => one.op === op && one.impl === candidate && one.returns_to === control,
  );
  const serving = (await client.why(op)).ranks
    .map(({ active }) => active)
    .find((active) => active !== control);
  if (serving === undefined || isLeft) return;
  throw new OpswapError(
    "OPSWAP_E_EXCLUDED",
    `${name}: ${serving} serves ${op}, not control, which is ${control}`,
    {
      remedy: `\`opswap use ${op} ${control}\` first, or run it without --guarded`,
    },
  );
}
