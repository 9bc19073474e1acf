/** Takes into the audit what an engine did by itself: each event once, whoever asks. */
import { hostname } from "node:os";
import type { OpswapClient } from "../../client/types.js";
import type { Event } from "../../generated/messages.js";
import type { AuditEntry, AuditStore } from "./store.js";

/** How many events were new. */
export async function collectEvents(client: OpswapClient, store: AuditStore): Promise<number> {
  const { journal, events } = await client.ask("events", {});
  return store.collect(events.map((event) => entryOf(client.name, journal, event)));
}

/** The same before another verb, which a missing event must not stop: the next verb finds it again. */
export async function collectFirst(client: OpswapClient, store: AuditStore): Promise<void> {
  if (client.service === "engine") await collectEvents(client, store).catch(() => {});
}

function entryOf(engine: string, journal: string, event: Event): AuditEntry {
  return {
    who: { user: "(engine)", uid: -1, host: hostname() },
    action: event.kind,
    outcome: "done",
    engine,
    from: event.from,
    to: event.to,
    why: [event.owner, event.reason].filter((part) => part !== "").join(": ") || null,
    ticket: event.ticket || null,
    epoch: event.epoch,
    build: null,
    error: null,
    event: { journal, n: event.n, time: timeOf(event.time_ms) },
  };
}

/** A time beyond what calendars have is kept as it is. */
function timeOf(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? `${ms} ms` : date.toISOString();
}
