/** The console's switch: through the audit, and what came of it on the screen. */
import type { Dispatch } from "react";
import { auditedSwitch, choiceOf } from "../experiments/audit/audited-switch.js";
import { FileAudit } from "../experiments/audit/file-store.js";
import { stateFolder } from "../experiments/state-folder.js";
import type { Feed } from "../feed/feed.js";
import type { OpswapError } from "../types/errors.js";
import { failureOf } from "./failure.js";
import type { Action } from "./state.js";

export async function switchOp(
  op: string,
  impl: string,
  feed: Feed,
  dispatch: Dispatch<Action>,
): Promise<void> {
  dispatch({ type: "mode", mode: { kind: "switching", op, impl } });
  const failed = (title: string, error: unknown) =>
    dispatch({ type: "mode", mode: { kind: "failed", title, failure: failureOf(error) } });
  const missed: OpswapError[] = [];
  const unaudited = (error: OpswapError) => missed.push(error);
  try {
    const store = new FileAudit(stateFolder());
    const [changes, client] = [[{ op, impl }], await feed.client()];
    const asked = { action: "use", to: choiceOf(changes) };
    const result = await auditedSwitch(client, store, asked, { unaudited }, () => client.use(changes));
    if (missed.length > 0) failed(`${op} is switched, but not in the audit`, missed[0]);
    else dispatch({ type: "mode", mode: { kind: "switched", result } });
  } catch (error) {
    failed(`${op} was not switched`, error);
  }
}
