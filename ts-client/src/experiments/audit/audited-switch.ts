/** A switch that is in the audit: a record before it is asked for, and one of what came of it. */
import { hostname, userInfo } from "node:os";
import type { OpswapClient } from "../../client/types.js";
import type { Change, UseResult } from "../../generated/messages.js";
import type { OpswapError } from "../../types/errors.js";
import { asRefusal } from "../../types/refusal.js";
import { collectFirst } from "./collect.js";
import type { AuditEntry, AuditStore } from "./store.js";

/** As much of an answer as goes into the audit. */
type Switched = Pick<UseResult, "acks" | "epoch" | "changes">;

/** After these nobody knows whether the engine switched. */
const UNKNOWN = new Set(["OPSWAP_E_TIMEOUT", "OPSWAP_E_DIVERGED", "OPSWAP_E_UNEXPECTED"]);

/** Whether a switch that ended with this code may have happened all the same. */
export const isUnknown = (code: string): boolean => UNKNOWN.has(code);

/** What a person says of a switch, and who is told when the audit cannot be written. */
export interface About {
  why?: string | undefined;
  ticket?: string | undefined;
  /** The switch waits for no disk: what is to be kept is kept after it. */
  afterwards?: boolean | undefined;
  /** The switch goes on all the same: taking a kernel back must work on a full disk. */
  unaudited(error: OpswapError): unknown;
}

/** What a switch is to be, before anybody is asked. */
export interface Asked {
  /** The verb. */
  action: string;
  /** Implementation by op; empty where the engine decides. */
  to: Readonly<Record<string, string>>;
}

/** Switches by `change`, and keeps who did, when, why, from and to what, and how it ended. */
export async function auditedSwitch<Result extends Switched>(
  client: OpswapClient,
  store: AuditStore,
  what: Asked,
  about: About,
  change: () => Promise<Result>,
): Promise<Result> {
  const base = entryOf(client, what, about);
  const ask = async () => {
    await collectFirst(client, store);
    return kept(store, base, about);
  };
  const before = about.afterwards ? undefined : await ask();
  try {
    const result = await change();
    const asked = about.afterwards ? await ask() : before;
    if (asked !== undefined) await kept(store, await done(client, { ...base, asked }, result), about);
    return result;
  } catch (thrown) {
    const { code, message } = asRefusal(thrown);
    const asked = about.afterwards ? await ask() : before;
    const outcome = isUnknown(code) ? "unknown" : "refused";
    if (asked !== undefined) await kept(store, { ...base, asked, outcome, error: { code, message } }, about);
    throw thrown;
  }
}

/** `changes` as a record has them. */
export function choiceOf(changes: readonly Change[]): Record<string, string> {
  return Object.fromEntries(changes.map(({ op, impl }) => [op, impl]));
}

/** The number of the record, where it could be kept; its outcome would be without a question otherwise, and is left out too. */
export async function kept(store: AuditStore, entry: AuditEntry, about: About): Promise<number | undefined> {
  try {
    return await store.append(entry);
  } catch (thrown) {
    about.unaudited(asRefusal(thrown));
    return undefined;
  }
}

/** The record of what is to be, with nothing known of its outcome. */
export function entryOf(client: OpswapClient, { action, to }: Asked, { why, ticket }: About): AuditEntry {
  const { username, uid } = userInfo();
  return {
    who: { user: username, uid, host: hostname() },
    action,
    outcome: "asked",
    engine: client.name,
    from: null,
    to: { ...to },
    why: why ?? null,
    ticket: ticket ?? null,
    epoch: null,
    build: null,
    error: null,
  };
}

/** The build is asked for after the switch, which waits for nothing. */
async function done(
  client: OpswapClient,
  base: AuditEntry,
  { acks, epoch, changes }: Switched,
): Promise<AuditEntry> {
  const build = await client.status().then(
    ({ ranks }) => ranks[0]?.build_digest ?? null,
    () => null,
  );
  return { ...base, outcome: "done", from: { ...acks[0]?.previous }, to: choiceOf(changes), epoch, build };
}
