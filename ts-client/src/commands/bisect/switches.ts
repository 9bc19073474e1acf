/** The switches of a bisect: each in the audit, none after somebody else's, and all of it put back at the end. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Ops } from "../../bisect/tested-ops.js";
import type { OpswapClient } from "../../client/types.js";
import { choiceOf } from "../../experiments/audit/audited-switch.js";
import type { Change, StatusResult } from "../../generated/messages.js";
import { OpswapError } from "../../types/errors.js";
import { asRefusal } from "../../types/refusal.js";
import type { Io } from "../context.js";
import { type AuditOptions, inAudit } from "../in-audit.js";

const TRIES = 6;
const BETWEEN_MS = 2_000;

export class Switches {
  readonly #io: Io;
  readonly #client: OpswapClient;
  readonly #about: AuditOptions;
  readonly #before: StatusResult;
  readonly #signal: AbortSignal;
  #epoch: number;
  /** Ops that were switched, or may have been, and what ran them before. */
  readonly #moved = new Map<string, string>();
  readonly #ranBefore: ReadonlyMap<string, string>;

  constructor(
    io: Io,
    client: OpswapClient,
    how: { about: AuditOptions; before: StatusResult; tested: Ops["tested"]; signal: AbortSignal },
  ) {
    this.#io = io;
    this.#client = client;
    this.#about = how.about;
    this.#before = how.before;
    this.#signal = how.signal;
    this.#epoch = how.before.epoch;
    this.#ranBefore = new Map(how.tested.map(({ op, now }) => [op, now]));
  }

  async use(changes: Change[], why: string): Promise<void> {
    this.#signal.throwIfAborted();
    for (const { op } of changes) this.#moved.set(op, this.#ranBefore.get(op) ?? "");
    const { epoch } = await this.#switch(changes, why);
    if (epoch !== this.#epoch + 1)
      throw new OpswapError("OPSWAP_E_BISECT", `somebody else switched this engine meanwhile: epoch ${epoch}`, {
        remedy: "run it in a maintenance window",
      });
    this.#epoch = epoch;
  }

  /** What ran before runs again, and what was not pinned before is not. Another switch or a slow rank is waited for. */
  async putBack(): Promise<void> {
    if (this.#moved.size === 0) return;
    const changes = [...this.#moved].map(([op, impl]) => ({ op, impl }));
    for (let left = TRIES - 1; ; left--) {
      try {
        await this.#switch(changes, "what ran before");
        break;
      } catch (thrown) {
        if (left === 0) throw notPutBack(changes, asRefusal(thrown));
        await sleep(BETWEEN_MS);
      }
    }
    for (const op of this.#moved.keys()) await this.#unpin(op);
    this.#moved.clear();
  }

  /** An op that ran what the library chose at load is not pinned to it; where something of it is barred that stays so. */
  async #unpin(op: string): Promise<void> {
    const { choice, barred } = this.#before;
    if (Object.hasOwn(choice, op) || barred.some((one) => one.op === op)) return;
    await this.#client.reset(op);
  }

  #switch(changes: Change[], why: string) {
    const reason = [this.#about.reason, `bisect: ${why}`].filter(Boolean).join(": ").slice(0, 400);
    const asked = { action: "use", to: choiceOf(changes) };
    return inAudit(this.#io, asked, { ...this.#about, reason }, (client) => client.use(changes, { reason }))(
      this.#client,
    );
  }
}

function notPutBack(changes: readonly Change[], { code, message }: OpswapError): OpswapError {
  const words = changes.map(({ op, impl }) => `${op}=${impl}`).join(" ");
  return new OpswapError(code, `what ran before does not run again: ${message}`, {
    remedy: `\`opswap use ${words}\` when the engine answers`,
  });
}
