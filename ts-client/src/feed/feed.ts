/** What runs on one engine, told to any number of subscribers: it is asked once for all of them. */
import { isDeepStrictEqual } from "node:util";
import type { OpswapClient } from "../client/index.js";
import type { RankOps, StatusResult } from "../generated/messages.js";
import { OpswapError } from "../types/errors.js";

/** Makes a client; fails with an OpswapError when there is nobody. */
export type Connect = () => Promise<OpswapClient>;

/** The engine has answered: when, and the parts of its answer that are not as they were. */
export interface Seen {
  type: "seen";
  /** Unix time in ms. */
  at: number;
  status?: StatusResult;
  ranks?: RankOps[];
}

/** Codes that say that the connection, or the engine behind it, is of no more use. */
const GONE = new Set(["OPSWAP_E_NOT_RUNNING", "OPSWAP_E_CLOSED", "OPSWAP_E_MESSAGE", "OPSWAP_E_PROTOCOL"]);

export type FeedEvent = Seen | { type: "lost"; error: OpswapError };
export type Subscriber = (event: FeedEvent) => void;

/**
 * Asks an engine at intervals while anybody subscribes, and connects again after a loss. Each answer is a call to all
 * ranks, so there is one feed per engine however many look at it; a slow engine is never asked twice at a time.
 */
export class Feed {
  readonly #connect: Connect;
  readonly #intervalMs: number;
  readonly #subscribers = new Set<Subscriber>();
  #client: Promise<OpswapClient> | undefined;
  /** The last answer, whole. */
  #last: Required<Seen> | undefined;
  #lost: OpswapError | undefined;
  #timer: NodeJS.Timeout | undefined;
  #asking = false;

  constructor(connect: Connect, intervalMs: number) {
    this.#connect = connect;
    this.#intervalMs = intervalMs;
  }

  /** Tells what is known at once, and from then on what changes, until the returned function is called. */
  subscribe(subscriber: Subscriber): () => void {
    this.#subscribers.add(subscriber);
    if (this.#last) subscriber(this.#last);
    if (this.#lost) subscriber({ type: "lost", error: this.#lost });
    if (this.#timer === undefined && !this.#asking) void this.#ask();
    return () => {
      this.#subscribers.delete(subscriber);
      if (this.#subscribers.size > 0) return;
      clearTimeout(this.#timer);
      this.#timer = undefined;
    };
  }

  /** The connection that the feed uses, for what is asked beside it. */
  client(): Promise<OpswapClient> {
    this.#client ??= this.#connect();
    return this.#client;
  }

  /** Ends the connection; the next question makes another. */
  async close(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    // A connection that could not be made needs no end.
    await client?.then(
      (made) => made.close(),
      () => {},
    );
  }

  async #ask(): Promise<void> {
    this.#asking = true;
    const event = await this.#answer();
    this.#asking = false;
    // A subscriber may end another's subscription.
    for (const subscriber of [...this.#subscribers]) if (this.#subscribers.has(subscriber)) subscriber(event);
    if (this.#subscribers.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#ask();
    }, this.#intervalMs);
  }

  /** A failure is an answer too; a defect of ours is not dressed up as one. */
  async #answer(): Promise<FeedEvent> {
    let connected = false;
    try {
      const client = await this.client();
      connected = true;
      const [status, { ranks }] = await Promise.all([client.status(), client.ops()]);
      return this.#changes({ type: "seen", at: Date.now(), status, ranks });
    } catch (error) {
      // An engine that refuses or is slow is still there, and a switch may be under way on the connection.
      const known = error instanceof OpswapError;
      if (!connected || !known || GONE.has(error.code)) await this.close();
      if (!known) throw error;
      this.#lost = error;
      return { type: "lost", error };
    }
  }

  #changes(now: Required<Seen>): Seen {
    const before = this.#last;
    this.#last = now;
    this.#lost = undefined;
    return {
      type: "seen",
      at: now.at,
      ...(isDeepStrictEqual(now.status, before?.status) ? {} : { status: now.status }),
      ...(isDeepStrictEqual(now.ranks, before?.ranks) ? {} : { ranks: now.ranks }),
    };
  }
}
