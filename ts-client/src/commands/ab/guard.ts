/** A candidate that serves while it is tried: by a lease, so that it goes back by itself when nobody renews it, and taken back unless it may stay. */
import { setTimeout as sleep } from "node:timers/promises";
import type { OpswapClient, UseOptions } from "../../client/types.js";
import { isUnknown } from "../../experiments/audit/audited-switch.js";
import type { ExperimentSpec } from "../../experiments/index.js";
import type { UseResult } from "../../generated/messages.js";
import { OpswapError } from "../../types/errors.js";
import { asRefusal } from "../../types/refusal.js";
import type { Io } from "../context.js";
import { inAudit } from "../in-audit.js";

/** What a request takes, in bytes of plain words. */
const MOST_REASON = 400;
const TRIES = 6;
const BETWEEN_MS = 2_000;

type Arm = "control" | "candidate";

export class Guard {
  readonly #io: Io;
  readonly #client: OpswapClient;
  readonly #spec: ExperimentSpec;
  readonly #betweenMs: number;
  /** The candidate serves, or may. */
  #isOut = false;
  /** Committed when the candidate was last seen serving: a later one may be somebody else's choice. */
  #epoch: number | undefined;

  constructor(io: Io, client: OpswapClient, spec: ExperimentSpec, betweenMs = BETWEEN_MS) {
    this.#io = io;
    this.#client = client;
    this.#spec = spec;
    this.#betweenMs = betweenMs;
  }

  /** Has the candidate serve. Where nobody knows whether it came to that, it counts as out. */
  async letServe(): Promise<void> {
    this.#isOut = true;
    const lease = { ttlMs: this.#spec.guard.lease };
    await this.#serve("candidate", "it is tried", lease).catch((thrown: unknown) => {
      this.#isOut = isUnknown(asRefusal(thrown).code);
      throw thrown;
    });
  }

  /** Renews the lease. Says why where the candidate serves no longer; an engine that is busy or silent is asked again next time. */
  async renew(): Promise<string | undefined> {
    if (!this.#isOut) return undefined;
    try {
      await this.#use("candidate", "it is tried", { ttlMs: this.#spec.guard.lease, renew: true });
      return undefined;
    } catch (thrown) {
      const { code, message } = asRefusal(thrown);
      if (code !== "OPSWAP_E_LEASE") return undefined;
      this.#isOut = false;
      return `the candidate serves no longer, by somebody else's choice or because its lease ended: ${message}`;
    }
  }

  /** Has control serve again, if the candidate is out and nobody chose otherwise; another switch or a slow rank is waited for. Returns the switch. */
  async takeBack(reason: string): Promise<UseResult | undefined> {
    for (let left = TRIES - 1; this.#isOut; left--) {
      try {
        const back = await this.#serve(
          "control",
          reason,
          this.#epoch === undefined ? {} : { ifEpoch: this.#epoch },
        );
        this.#isOut = false;
        return back;
      } catch (thrown) {
        const refusal = asRefusal(thrown);
        if (refusal.code === "OPSWAP_E_EPOCH") await this.#lookAgain().catch(() => {});
        if (left === 0 && this.#isOut) throw this.#stillServes(refusal);
        if (this.#isOut) await sleep(this.#betweenMs);
      }
    }
    return undefined;
  }

  /** It passed, or a person decides on its failure: it serves on for the time that this may take, under a last lease. */
  async leave(why: string): Promise<void> {
    if (!this.#isOut) return;
    await this.#serve("candidate", why, { ttlMs: this.#spec.guard.decide_within, renew: true });
    this.#isOut = false;
  }

  /** What another guard left serving by its lease, if it does. */
  async takeBackLeft(reason: string): Promise<void> {
    await this.#lookAgain();
    await this.takeBack(reason);
  }

  /** Somebody switched meanwhile: another op, or this one. */
  async #lookAgain(): Promise<void> {
    const { epoch, overrides } = await this.#client.status();
    const { name, op, candidate } = this.#spec;
    const isOurs = (reason: string) => reason.startsWith(`experiment ${name}: `);
    this.#isOut = overrides.some((one) => one.op === op && one.impl === candidate && isOurs(one.reason));
    this.#epoch = epoch;
  }

  /** By way of the audit. */
  async #serve(arm: Arm, why: string, options: UseOptions): Promise<UseResult> {
    const { name, op, ticket } = this.#spec;
    const about = { reason: `experiment ${name}: ${why}`.slice(0, MOST_REASON), ...(ticket && { ticket }) };
    const asked = { action: "use", to: { [op]: this.#spec[arm] } };
    // A candidate that failed serves until it is taken back: the audit comes after that.
    const order = { afterwards: arm === "control" };
    return inAudit(this.#io, asked, about, () => this.#use(arm, why, options), order)(this.#client);
  }

  async #use(arm: Arm, why: string, options: UseOptions): Promise<UseResult> {
    const { name, op, owner, ticket } = this.#spec;
    const reason = `experiment ${name}: ${why}`.slice(0, MOST_REASON);
    const change = { op, impl: this.#spec[arm] };
    const result = await this.#client.use([change], { ...options, reason, owner, ticket });
    this.#epoch = result.epoch;
    return result;
  }

  #stillServes({ code, message }: OpswapError): OpswapError {
    const { op, candidate, control, guard } = this.#spec;
    const until = `its lease of ${guard.lease / 1000} s is not renewed`;
    return new OpswapError(
      code,
      `${candidate} may still serve ${op}, which cannot be taken back: ${message}; ${until}`,
      { remedy: `\`opswap use ${op} ${control}\` when the engine answers` },
    );
  }
}
