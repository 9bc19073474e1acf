/**
 * The switches of a bisect: each in the audit, none after somebody else's, each ended by the engine itself where nothing
 * follows it, and all of it put back at the end.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { TestedOp } from "../../bisect/tested-ops.js";
import type { OpswapClient, UseOptions } from "../../client/types.js";
import { choiceOf } from "../../experiments/audit/audited-switch.js";
import type { Change, StatusResult } from "../../generated/messages.js";
import { OpswapError } from "../../types/errors.js";
import { asRefusal } from "../../types/refusal.js";
import type { Io } from "../context.js";
import { type AuditOptions, inAudit } from "../in-audit.js";

/** A bisect that is killed ends its switches after this time; longer than an answer may take. */
const TTL_MS = 120_000;
const TRIES = 6;
const BETWEEN_MS = 2_000;

export interface Setting {
  io: Io;
  client: OpswapClient;
  about: AuditOptions;
  /** As it was before. */
  status: StatusResult;
  tested: readonly TestedOp[];
  against: string;
  signal: AbortSignal;
}

export class Switches {
  readonly #at: Setting;
  #epoch: number;
  #hasBegun = false;

  constructor(setting: Setting) {
    this.#at = setting;
    this.#epoch = setting.status.epoch;
  }

  /** Exactly these run on the yardstick afterwards. All tested ops are named each time, which renews their overrides. */
  async to(ops: readonly string[]): Promise<void> {
    this.#at.signal.throwIfAborted();
    const { tested, against } = this.#at;
    const changes = tested.map(({ op, now }) => ({ op, impl: ops.includes(op) ? against : now }));
    this.#hasBegun = true;
    const how = { ttlMs: TTL_MS, ifEpoch: this.#epoch };
    const { epoch } = await this.#switch(changes, `${ops.join(" ")} on ${against}`, how).catch(elsewhere);
    this.#epoch = epoch;
  }

  /** What ran before runs again, and what was not pinned before is not. Another switch or a slow rank is waited for. */
  async putBack(): Promise<void> {
    if (!this.#hasBegun) return;
    const changes = this.#at.tested.map(({ op, now }) => ({ op, impl: now }));
    for (let left = TRIES - 1; ; left--) {
      try {
        await this.#switch(await this.#ours(changes), "what ran before", {});
        break;
      } catch (thrown) {
        if (left === 0) throw notPutBack(changes, asRefusal(thrown));
        await sleep(BETWEEN_MS);
      }
    }
    for (const { op } of changes) await this.#unpin(op);
    this.#hasBegun = false;
  }

  /** Those that run what they ran before or the yardstick: what somebody else has chosen meanwhile is theirs. */
  async #ours(changes: readonly Change[]): Promise<Change[]> {
    const [rank] = (await this.#at.client.ops()).ranks;
    const active = new Map(rank?.ops.map((row) => [row.op, row.active]));
    const [ours, others] = [[] as Change[], [] as string[]];
    for (const change of changes) {
      const runs = active.get(change.op);
      if (runs === change.impl || runs === this.#at.against) ours.push(change);
      else others.push(`${change.op}=${runs}`);
    }
    if (others.length > 0)
      this.#at.io.err(`left as somebody else has switched it meanwhile: ${others.join(" ")}`);
    return ours;
  }

  /** An op that ran what the library chose at load is not pinned to it; where something of it is barred that stays so. */
  async #unpin(op: string): Promise<void> {
    const { choice, barred } = this.#at.status;
    if (Object.hasOwn(choice, op) || barred.some((one) => one.op === op)) return;
    await this.#at.client.reset(op);
  }

  #switch(changes: Change[], why: string, how: UseOptions) {
    const { io, client, about } = this.#at;
    const reason = [about.reason, `bisect: ${why}`].filter(Boolean).join(": ").slice(0, 400);
    const asked = { action: "use", to: choiceOf(changes) };
    const ticket = about.ticket === undefined ? {} : { ticket: about.ticket };
    const switched = (engine: OpswapClient) => engine.use(changes, { ...how, ...ticket, reason });
    return inAudit(io, asked, { ...about, reason }, switched)(client);
  }
}

function elsewhere(thrown: unknown): never {
  const { code, message } = asRefusal(thrown);
  if (code !== "OPSWAP_E_EPOCH") throw thrown;
  throw new OpswapError("OPSWAP_E_BISECT", `somebody else switched this engine meanwhile: ${message}`, {
    remedy: "run it in a maintenance window",
  });
}

function notPutBack(changes: readonly Change[], { code, message }: OpswapError): OpswapError {
  const words = changes.map(({ op, impl }) => `${op}=${impl}`).join(" ");
  return new OpswapError(code, `what ran before does not run again yet: ${message}`, {
    remedy: `the engine itself ends the switches within ${TTL_MS / 1000} s; else \`opswap use ${words}\``,
  });
}
