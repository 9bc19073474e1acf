/** A candidate that serves while it is tried, and is taken back unless it may stay. */
import { setTimeout as sleep } from "node:timers/promises";
import type { OpswapClient } from "../../client/types.js";
import { isUnknown } from "../../experiments/audit/audited-switch.js";
import type { ExperimentSpec } from "../../experiments/index.js";
import { OpswapError } from "../../types/errors.js";
import { asRefusal } from "../../types/refusal.js";
import type { Io } from "../context.js";
import { inAudit } from "../in-audit.js";

/** What a request takes, in bytes of plain words. */
const MOST_REASON = 400;
const TRIES = 6;
const BETWEEN_MS = 2_000;

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
    await this.#serve("candidate", "it is tried").catch((thrown: unknown) => {
      this.#isOut = isUnknown(asRefusal(thrown).code);
      throw thrown;
    });
  }

  /** Has control serve again, if the candidate is out; another switch or a slow rank is waited for. */
  async takeBack(reason: string): Promise<void> {
    for (let left = TRIES - 1; this.#isOut; left--) {
      try {
        await this.#serve("control", reason);
        this.#isOut = false;
      } catch (thrown) {
        if (left === 0) throw this.#stillServes(asRefusal(thrown));
        await sleep(this.#betweenMs);
      }
    }
  }

  /** It passed, or a person decides: it stays. */
  leave(): void {
    this.#isOut = false;
  }

  async #serve(arm: "control" | "candidate", why: string): Promise<void> {
    const { name, op, ticket, ...arms } = this.#spec;
    const reason = `experiment ${name}: ${why}`.slice(0, MOST_REASON);
    const about = { reason, ...(ticket !== undefined && { ticket }) };
    const change = { op, impl: arms[arm] };
    const asked = { action: "use", to: { [op]: change.impl } };
    await inAudit(this.#io, asked, about, (engine) => engine.use([change], { reason }))(this.#client);
  }

  #stillServes({ code, message }: OpswapError): OpswapError {
    const { op, candidate, control } = this.#spec;
    return new OpswapError(
      code,
      `${candidate} may still serve ${op}, which cannot be taken back: ${message}`,
      {
        remedy: `\`opswap use ${op} ${control}\` when the engine answers`,
      },
    );
  }
}
