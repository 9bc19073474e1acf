/** The console's switches: through the audit, and what came of them on the screen. */
import type { Dispatch } from "react";
import type { OpswapClient } from "../client/types.js";
import { type Asked, auditedSwitch, choiceOf } from "../experiments/audit/audited-switch.js";
import { FileAudit } from "../experiments/audit/file-store.js";
import { type Back, revert, switchBack } from "../experiments/audit/revert.js";
import { stateFolder } from "../experiments/state-folder.js";
import type { Feed } from "../feed/feed.js";
import type { UseResult } from "../generated/messages.js";
import type { OpswapError } from "../types/errors.js";
import { failureOf } from "./failure.js";
import type { Action } from "./state.js";

interface Wanted {
  /** As the screen names it. */
  op: string;
  impl: string;
  asked: Asked;
  change(client: OpswapClient): Promise<UseResult>;
}

export function switchOp(op: string, impl: string, feed: Feed, dispatch: Dispatch<Action>): Promise<void> {
  const changes = [{ op, impl }];
  const asked = { action: "use", to: choiceOf(changes) };
  return audited({ op, impl, asked, change: (client) => client.use(changes) }, feed, dispatch);
}

export function switchBackTo(back: Back, feed: Feed, dispatch: Dispatch<Action>): Promise<void> {
  const asked = { action: `revert ${back.record}`, to: back.from };
  const [op, impl] = [Object.keys(back.from).join(", "), "what ran before"];
  return audited({ op, impl, asked, change: (client) => revert(client, back, {}) }, feed, dispatch);
}

/** Which switch would be taken back; asked before it is. */
export async function askBack(feed: Feed, dispatch: Dispatch<Action>): Promise<void> {
  try {
    const { name } = await feed.client();
    const back = switchBack(new FileAudit(stateFolder()).verified().records, name);
    dispatch({ type: "mode", mode: { kind: "confirm-back", back } });
  } catch (error) {
    const mode = { kind: "failed", title: "nothing can be taken back", failure: failureOf(error) } as const;
    dispatch({ type: "mode", mode });
  }
}

async function audited({ op, impl, asked, change }: Wanted, feed: Feed, dispatch: Dispatch<Action>) {
  dispatch({ type: "mode", mode: { kind: "switching", op, impl } });
  const failed = (title: string, error: unknown) =>
    dispatch({ type: "mode", mode: { kind: "failed", title, failure: failureOf(error) } });
  const missed: OpswapError[] = [];
  const unaudited = (error: OpswapError) => missed.push(error);
  try {
    const store = new FileAudit(stateFolder());
    const client = await feed.client();
    const result = await auditedSwitch(client, store, asked, { unaudited }, () => change(client));
    if (missed.length > 0) failed(`${op} is switched, but not in the audit`, missed[0]);
    else dispatch({ type: "mode", mode: { kind: "switched", result } });
  } catch (error) {
    failed(`${op} was not switched`, error);
  }
}
