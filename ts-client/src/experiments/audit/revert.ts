/** Which switch of the audit can be switched back, and to what. */
import type { OpswapClient, UseOptions } from "../../client/types.js";
import type { OpStats, UseResult } from "../../generated/messages.js";
import { OpswapError } from "../../types/errors.js";
import type { AuditRecord } from "./store.js";

/** Implementation by op. */
type Choice = Readonly<Record<string, string>>;

/** A switch that is to be undone: `record` is the number of its outcome. */
export interface Back {
  record: number;
  from: Choice;
  to: Choice;
}

/** The last switch of `engine` that somebody asked for; with `number`, the one of that record, or that it asked for. */
export function switchBack(records: readonly AuditRecord[], engine: string, number?: number): Back {
  const found = records.findLast((record) => isSwitch(record, engine) && isOf(record, number));
  if (found?.from) return { record: found.n, from: found.from, to: found.to };
  const what = number === undefined ? "no switch" : `no switch in record ${number}`;
  throw new OpswapError(
    "OPSWAP_E_NO_SWITCH",
    `the audit has ${what} of ${engine} that could be switched back`,
  );
}

function isSwitch({ engine, outcome, from, event }: AuditRecord, name: string): boolean {
  return engine === name && outcome === "done" && !event && from !== null && Object.keys(from).length > 0;
}

const isOf = ({ n, asked }: AuditRecord, number?: number) =>
  number === undefined || n === number || asked === number;

/** Switches back; refused where something else runs than that switch left, on any rank, also when it comes meanwhile. */
export async function revert(client: OpswapClient, back: Back, options: UseOptions): Promise<UseResult> {
  const { epoch } = await client.status();
  const { ranks } = await client.ops();
  for (const { ops } of ranks) refuseOther(back, ops);
  const changes = Object.entries(back.from).map(([op, impl]) => ({ op, impl }));
  return client.use(changes, { ...options, ifEpoch: epoch });
}

function refuseOther({ record, to }: Back, ops: readonly Pick<OpStats, "op" | "active">[]): void {
  for (const { op, active: now } of ops) {
    const impl = to[op];
    if (impl === undefined || impl === now) continue;
    const message = `record ${record} switched ${op} to ${impl}, but ${now} runs now`;
    throw new OpswapError("OPSWAP_E_EPOCH", message, {
      remedy: "look at `opswap audit show`, and name what you want by `opswap use`",
    });
  }
}
