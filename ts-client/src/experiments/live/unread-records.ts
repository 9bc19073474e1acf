/** The records of a shadow that were not read yet, page by page. */
import type { OpswapClient } from "../../client/types.js";
import type { ShadowRecord } from "../../generated/messages.js";

/** In order on each rank, until an answer has none; `after` has the last sequence of each rank, and is kept up. */
export async function* unread(
  client: OpswapClient,
  op: string,
  after: number[],
): AsyncGenerator<ShadowRecord[]> {
  for (;;) {
    const { records } = await client.ask("shadow_read", {
      op,
      after: Array.from(after, (seen) => seen ?? 0),
    });
    if (records.length === 0) return;
    for (const record of records) after[record.rank] = record.sequence;
    yield records;
  }
}
