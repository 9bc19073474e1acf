/** What an engine knows of an experiment's candidate before its first sample: the digest of its file, and how it fared in quarantine. */
import type { OpswapClient } from "../../client/types.js";
import type { Candidate, Quarantined } from "../../generated/messages.js";
import { OpswapError } from "../../types/errors.js";
import type { Reference } from "../samples.js";
import type { ExperimentSpec } from "../spec/experiment.js";

const TIMEOUT_MS = 300_000;

/** As the first line of a stream of samples has it; undefined where the build says what it is. */
export async function digestOf(
  client: OpswapClient,
  { op, candidate }: ExperimentSpec,
): Promise<string | undefined> {
  return (await rowOf(client, op, candidate))?.digest || undefined;
}

/**
 * Its recorded calls against the float64 reference, where control was the experiment's. One that has to pass quarantine and has not is
 * put through it before, which `waits` is told of, and refused where it is barred.
 */
export async function referencesOf(
  client: OpswapClient,
  spec: ExperimentSpec,
  waits: () => void,
): Promise<Reference[]> {
  const { op, control, candidate } = spec;
  const row = await rowOf(client, op, candidate);
  if (row === undefined || row.quarantine.state === "none") return [];
  if (row.quarantine.state === "waiting") {
    waits();
    await quarantine(client, spec);
  }
  const { results } = await client.ask("quarantine_status", { op });
  const isOurs = (one: Quarantined) =>
    one.impl === candidate && one.digest === row.digest && one.control === control;
  const references = results.find(isOurs)?.references ?? [];
  return references.map((one) => ({ kind: "reference", ...one }));
}

async function quarantine(client: OpswapClient, { op, control, candidate }: ExperimentSpec): Promise<void> {
  const isOfLibrary = (await rowOf(client, op, control))?.kind === "library";
  const request = { op, impl: candidate, timeout_ms: TIMEOUT_MS, ...(isOfLibrary && { control }) };
  const { result } = await client.ask("quarantine", request, { timeoutMs: TIMEOUT_MS });
  if (result.verdict === "barred")
    throw new OpswapError("OPSWAP_E_BARRED", `${candidate} of ${op} failed in quarantine: ${result.reason}`);
}

async function rowOf(client: OpswapClient, op: string, impl: string): Promise<Candidate | undefined> {
  const { candidates } = await client.ask("candidates", { op });
  return candidates.find((one) => one.impl === impl);
}
