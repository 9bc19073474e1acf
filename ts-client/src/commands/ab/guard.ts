/** A candidate that serves while it is tried: by a lease, so that it goes back by itself when nobody renews it, and taken back unless it may stay. */
import { setTimeout as sleep } from "node:timers/promises";
import type { OpswapClient, UseOptions } from "../../client/types.js";
import { isUnknown } from "../../experiments/audit/audited-switch.js";
import type { ExperimentSpec } from "../../experiments/index.js";
import type { Override, UseResult } from "../../generated/messages.js";
import { OpswapError } from "../../types/errors.js";
import { asRefusal } from "../../types/refusal.js";
import type { Io } from "../context.js";
import { inAudit } from "../in-audit.js";

/** What a request takes, in bytes of plain words. */
const MOST_REASON = 400;
const TRIES = 6;
const BETWEEN_MS = 2_000;

/** Whether this override is of this experiment. */
export function isOf({ name, op, candidate }: ExperimentSpec, one: Override): boolean {
  return one.op === op && one.impl === candidate && one.reason.startsWith(`experiment ${name}: `);
}

export class Guard {
  readonly #io: Io;
  readonly #client: OpswapClient;
  readonly #spec: ExperimentSpec;
  readonly #betweenMs: number;
  /** The candidate serves, or may. */
  #isOut = false;

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
    await this.#serve("it is tried", lease).catch((thrown: unknown) => {
      this.#isOut = isUnknown(asRefusal(thrown).code);
      throw thrown;
    });
  }

  /** Renews the lease. Says why where the candidate serves no longer; an engine that is busy or silent is asked again next time. */
  async renew(): Promise<string | undefined> {
    if (!this.#isOut) return undefined;
    try {
      await this.#use("it is tried", { ttlMs: this.#spec.guard.lease, renew: true });
      return undefined;
    } catch (thrown) {
      const { code, message } = asRefusal(thrown);
      if (code !== "OPSWAP_E_LEASE") return undefined;
      this.#isOut = false;
      return `the candidate serves no longer, by somebody else's choice or because its lease ended: ${message}`;
    }
  }

  /** Ends the lease, so that what ran before serves again, if the candidate is out and nobody chose otherwise; a slow rank is waited for. Returns the switch. */
  async takeBack(reason: string): Promise<UseResult | undefined> {
    for (let left = TRIES - 1; this.#isOut; left--) {
      try {
        const back = await this.#end(reason);
        this.#isOut = false;
        return back;
      } catch (thrown) {
        const refusal = asRefusal(thrown);
        if (refusal.code === "OPSWAP_E_LEASE") this.#isOut = false;
        else if (left === 0) throw this.#stillServes(refusal);
        else await sleep(this.#betweenMs);
      }
    }
    return undefined;
  }

  /** It passed, or a person decides on its failure: it serves on for the time that this may take, under a last lease. */
  async leave(why: string): Promise<void> {
    if (!this.#isOut) return;
    await this.#serve(why, { ttlMs: this.#spec.guard.decide_within, renew: true });
    this.#isOut = false;
  }

  /** What another guard left serving by its lease, if it does. */
  async takeBackLeft(reason: string): Promise<void> {
    const { overrides } = await this.#client.status();
    this.#isOut = overrides.some((one) => isOf(this.#spec, one));
    await this.takeBack(reason);
  }

  /** By way of the audit, which comes after it: a candidate that failed serves until then. */
  async #end(why: string): Promise<UseResult> {
    const { op, candidate, control, owner } = this.#spec;
    const asked = { action: "use", to: { [op]: control } };
    const request = { op, impl: candidate, ...(owner !== undefined && { owner }) };
    const change = () => this.#client.ask("end_override", request);
    return inAudit(this.#io, asked, this.#about(why), change, { afterwards: true })(this.#client);
  }

  /** By way of the audit. */
  async #serve(why: string, options: UseOptions): Promise<UseResult> {
    const { op, candidate } = this.#spec;
    const asked = { action: "use", to: { [op]: candidate } };
    return inAudit(this.#io, asked, this.#about(why), () => this.#use(why, options))(this.#client);
  }

  async #use(why: string, options: UseOptions): Promise<UseResult> {
    const { op, candidate, owner } = this.#spec;
    return this.#client.use([{ op, impl: candidate }], { ...options, ...this.#about(why), owner });
  }

  #about(why: string) {
    const { name, ticket } = this.#spec;
    return { reason: `experiment ${name}: ${why}`.slice(0, MOST_REASON), ...(ticket && { ticket }) };
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
