/** The records of a shadow as a stream of samples, which `opswap ab judge` takes. */
import type { OpswapClient } from "../client/types.js";
import { streamHeader } from "../experiments/live/stream-header.js";
import { samplesText } from "../experiments/samples.js";
import type { ShadowRecord } from "../generated/messages.js";
import { OpswapError } from "../types/errors.js";

/** Every record of an op's shadow that the engine still has, of all ranks in order of time, with what was compared. */
export async function shadowSamples(
  client: OpswapClient,
  op: string,
): Promise<{ text: string; records: number }> {
  const [shadow] = (await client.ask("shadow_status", { op })).ranks;
  if (shadow === undefined)
    throw new OpswapError("OPSWAP_E_SAMPLES", `${client.name} has no shadow of ${op}`);
  const records = await allRecords(client, op);
  const { control, candidate } = shadow;
  const head = await streamHeader(client, { op, control, candidate });
  return { text: samplesText(head, records), records: records.length };
}

/** Asks again behind the last record of each rank until none comes. */
async function allRecords(client: OpswapClient, op: string): Promise<ShadowRecord[]> {
  const all: ShadowRecord[] = [];
  const after: number[] = [];
  for (;;) {
    const { records } = await client.ask("shadow_read", { op, after });
    if (records.length === 0) break;
    all.push(...records);
    for (const { rank, sequence } of records) {
      while (after.length <= rank) after.push(0);
      after[rank] = Math.max(after[rank] ?? 0, sequence);
    }
  }
  return all.sort((a, b) => a.time_us - b.time_us || a.sequence - b.sequence);
}
