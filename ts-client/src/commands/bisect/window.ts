/** Whether a bisect may begin: the engine is whole, nothing else works on it, and nobody else is served. */
import { setTimeout as sleep } from "node:timers/promises";
import { called, callsOf } from "../../bisect/tested-ops.js";
import type { OpswapClient } from "../../client/types.js";
import type { StatusResult } from "../../generated/messages.js";
import { OpswapError } from "../../types/errors.js";
import { asRefusal } from "../../types/refusal.js";

const LOOK_MS = 1_000;

export async function refuseUnfit(
  client: OpswapClient,
  status: StatusResult,
  ops: readonly string[],
): Promise<void> {
  if (status.divergence !== null) throw new OpswapError("OPSWAP_E_DIVERGED", status.divergence);
  if (status.switching) throw new OpswapError("OPSWAP_E_BUSY", "a switch is under way");
  const [override] = status.overrides;
  if (override !== undefined)
    throw new OpswapError(
      "OPSWAP_E_BUSY",
      `${override.op} runs ${override.impl} for a time: an override, of an experiment perhaps`,
      {
        remedy: `wait for its end, or \`opswap use ${override.op} ${override.returns_to}\``,
      },
    );
  for (const op of ops) {
    if (!(await isWatched(client, op))) continue;
    throw new OpswapError(
      "OPSWAP_E_BUSY",
      `a shadow of ${op} runs, of an experiment perhaps: its samples would be of other kernels`,
      {
        remedy: `wait for its end, or \`opswap shadow stop ${op}\``,
      },
    );
  }
}

/** An op that was never shadowed has no status. */
async function isWatched(client: OpswapClient, op: string): Promise<boolean> {
  try {
    return (await client.ask("shadow_status", { op })).ranks.some(({ running }) => running);
  } catch (thrown) {
    if (asRefusal(thrown).code === "OPSWAP_E_ARGUMENT") return false;
    throw thrown;
  }
}

/** Without `isAllowed`, an engine that calls ops though nobody here asked is refused. */
export async function refuseTraffic(client: OpswapClient, isAllowed: boolean): Promise<void> {
  if (isAllowed) return;
  const before = await callsOf(client);
  await sleep(LOOK_MS);
  const busy = called(before, await callsOf(client));
  if (busy.length === 0) return;
  throw new OpswapError(
    "OPSWAP_E_BUSY",
    `${client.name} serves other requests, which would run on the yardstick too`,
    {
      remedy: "take the traffic away; --yes goes on all the same, and answers then depend on what else runs",
    },
  );
}
