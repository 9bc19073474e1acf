import type { OpswapClient } from "../client/index.js";
import { OpswapError } from "../types/errors.js";
import type { Action, Failure } from "./state.js";

/** Makes a client; fails with an OpswapError when there is nobody. */
export type Connect = () => Promise<OpswapClient>;

/** The connection behind a console: looks at intervals, connects again after a loss. */
export class Session {
  readonly #connect: Connect;
  #client: OpswapClient | undefined;

  constructor(connect: Connect) {
    this.#connect = connect;
  }

  /** One look at the engine; a failure is an answer too, and makes the next look connect afresh. */
  async look(): Promise<Action> {
    try {
      const client = await this.client();
      const [status, { ranks }] = await Promise.all([client.status(), client.ops()]);
      return { type: "seen", status, ranks, at: Date.now() };
    } catch (error) {
      await this.close();
      return { type: "lost", failure: failureOf(error) };
    }
  }

  async client(): Promise<OpswapClient> {
    this.#client ??= await this.#connect();
    return this.#client;
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.close();
  }
}

/** What the screen says of an error; a defect of ours is not dressed up as an answer. */
export function failureOf(error: unknown): Failure {
  if (!(error instanceof OpswapError)) throw error;
  const { code, message, remedy, ranks } = error;
  return { code, message, remedy, ranks };
}
