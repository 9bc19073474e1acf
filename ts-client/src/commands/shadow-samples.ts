/** The records of a shadow as a stream of samples, which `opswap ab judge` takes. */
import type { OpswapClient } from "../client/types.js";
import { streamHeader } from "../experiments/live/stream-header.js";
import { unread } from "../experiments/live/unread-records.js";
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

async function allRecords(client: OpswapClient, op: string): Promise<ShadowRecord[]> {
  const all: ShadowRecord[] = [];
  for await (const page of unread(client, op, [])) all.push(...page);
  return all.sort((a, b) => a.time_us - b.time_us || a.sequence - b.sequence);
}
