/** A ZeroMQ connection to an agent or a sidecar. */
import { createRequire } from "node:module";
import type { Dealer } from "zeromq";
import { LIMITS, PROTOCOL, RESULTS, type Verb, type Verbs } from "../generated/messages.js";
import { OpswapError } from "../types/errors.js";
import { decode, encode } from "./wire.js";

const HELLO_TIMEOUT_MS = 5_000;
/** Loaded by the first connection: at exit ZeroMQ can hold a process up, also one that never talked. */
const zeromq = () => createRequire(import.meta.url)("zeromq") as typeof import("zeromq");
/** How long a message waits for a connection; past it a peer that has no listening socket is taken to be gone. */
const CONNECT_TIMEOUT_MS = 2_000;

/** Nothing took a message within the time for sending: there is no connection yet, or the peer does not read. */
const isFull = (cause: unknown) => (cause as { code?: string }).code === "EAGAIN";

interface Pending {
  settle(error: unknown, result?: unknown): void;
}

/**
 * One DEALER socket: requests by id, each with its own time-out, and hello before anything else.
 *
 * After a loss the socket connects again by itself and hello is repeated. A request that was under way then is never
 * sent a second time: it fails at once, because nobody can tell whether it ran.
 */
export class Connection {
  readonly #socket: Dealer;
  readonly #pending = new Map<number, Pending>();
  readonly #address: string;
  readonly #client: string;
  readonly #explain: (error: unknown) => unknown;
  #nextId = 1;
  #sending: Promise<void> = Promise.resolve();
  #greeted: Promise<Verbs["hello"]["result"]> | undefined;
  #closed = false;
  /** Whether nobody listens there. Who does may take seconds to say so, and so may this machine, where it is busy. */
  #refused = false;

  /** `explain` may know more of an error of a request than that nothing came back. */
  constructor(socketPath: string, client: string, explain = (error: unknown) => error) {
    this.#address = `ipc://${socketPath}`;
    this.#client = client;
    this.#explain = explain;
    // `immediate` queues only to live connections, so that a request cannot reach a later process of the same name.
    this.#socket = new (zeromq().Dealer)({
      linger: 0,
      immediate: true,
      sendTimeout: CONNECT_TIMEOUT_MS,
      reconnectInterval: 50,
      reconnectMaxInterval: 1_000,
      maxMessageSize: LIMITS.reply_bytes,
    });
    this.#socket.events.on("connect", () => {
      this.#refused = false;
    });
    this.#socket.events.on("connect:retry", () => {
      this.#refused = true;
    });
    this.#socket.events.on("disconnect", () => this.#lost());
    this.#socket.connect(this.#address);
    void this.#read();
  }

  /** Says hello, once per connection; on a busy machine the answer to it takes as long as any other. */
  hello(timeoutMs = HELLO_TIMEOUT_MS): Promise<Verbs["hello"]["result"]> {
    this.#greeted ??= this.#ask("hello", { protocol: PROTOCOL, client: this.#client }, timeoutMs);
    this.#greeted.catch(() => {
      this.#greeted = undefined;
    });
    return this.#greeted;
  }

  /** Sends a request and waits for its result, as the verb declares both. */
  async request<V extends Verb>(
    verb: V,
    fields: Verbs[V]["request"],
    timeoutMs: number,
  ): Promise<Verbs[V]["result"]> {
    try {
      return await this.#askGreeted(verb, fields, timeoutMs);
    } catch (error) {
      // The server was restarted, or forgot us: it has run nothing, so asking again is safe.
      if (!(error instanceof OpswapError) || error.code !== "OPSWAP_E_HELLO") throw this.#explain(error);
      this.#greeted = undefined;
      await this.hello();
      return await this.#ask(verb, fields, timeoutMs);
    }
  }

  /** The first request travels right behind the greeting; a server that refuses the greeting runs no request either. */
  async #askGreeted<V extends Verb>(
    verb: V,
    fields: Verbs[V]["request"],
    timeoutMs: number,
  ): Promise<Verbs[V]["result"]> {
    const greeted = this.hello(Math.max(HELLO_TIMEOUT_MS, timeoutMs));
    if (this.#pending.size > 1) await greeted;
    const answer = this.#ask(verb, fields, timeoutMs);
    answer.catch(() => {});
    await greeted;
    return await answer;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#fail(new OpswapError("OPSWAP_E_CLOSED", `${this.#address}: closed while a request was under way`));
    this.#socket.close();
  }

  async #ask<V extends Verb>(
    verb: V,
    fields: Verbs[V]["request"],
    timeoutMs: number,
  ): Promise<Verbs[V]["result"]> {
    if (this.#closed) throw new OpswapError("OPSWAP_E_CLOSED", `${this.#address}: the client is closed`);
    if (this.#pending.size >= LIMITS.in_flight) {
      const message = `${verb}: ${LIMITS.in_flight} requests of this client are waiting for a reply already`;
      throw new OpswapError("OPSWAP_E_BUSY", message, { remedy: "wait for one of them" });
    }
    const id = this.#nextId++;
    // Wide in every message, so given as what it has to become.
    const deadline = BigInt(Date.now() + Math.ceil(timeoutMs));
    const frame = encode({ id, verb, deadline, ...fields });
    if (frame.byteLength > LIMITS.request_bytes) {
      const message = `${verb}: the request has ${frame.byteLength} bytes, at most ${LIMITS.request_bytes} are taken`;
      throw new OpswapError("OPSWAP_E_TOO_LARGE", message);
    }
    const answer = this.#expect(id, verb, timeoutMs);
    this.#sending = this.#sending.then(() => this.#send(id, frame));
    return this.#checked(verb, await answer);
  }

  #expect(id: number, verb: Verb, timeoutMs: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const settle = (error: unknown, result?: unknown) => {
        clearTimeout(timer);
        this.#pending.delete(id);
        if (error) reject(error);
        else resolve(result);
      };
      const late = () => settle(new OpswapError("OPSWAP_E_TIMEOUT", `${verb}: no answer in ${timeoutMs} ms`));
      const timer = setTimeout(late, timeoutMs);
      this.#pending.set(id, { settle });
    });
  }

  /** Never rejects: a failure belongs to the request. A request that has timed out meanwhile is not sent. */
  async #send(id: number, frame: Buffer): Promise<void> {
    for (let pending = this.#pending.get(id); pending; pending = this.#pending.get(id)) {
      try {
        return await this.#socket.send(frame);
      } catch (cause) {
        if (isFull(cause) && !this.#refused) continue;
        const message = `${this.#address}: nobody took the connection`;
        pending.settle(new OpswapError("OPSWAP_E_NOT_RUNNING", message, { cause }));
      }
    }
  }

  async #read(): Promise<void> {
    try {
      for await (const [frame] of this.#socket) if (frame) this.#take(frame);
    } catch (cause) {
      if (!this.#closed) this.#fail(new OpswapError("OPSWAP_E_NOT_RUNNING", `${this.#address}: ${cause}`));
    }
  }

  /** A reply that nobody waits for any more is dropped. */
  #take(frame: Buffer): void {
    const answer = decode(frame);
    if (!answer) {
      this.#fail(
        new OpswapError("OPSWAP_E_MESSAGE", `${this.#address}: a reply is not as the protocol declares`),
      );
      return;
    }
    const pending = answer.id === null ? undefined : this.#pending.get(answer.id);
    if (answer.ok) {
      pending?.settle(undefined, answer.result);
    } else if (answer.error) {
      const { code, message, remedy, ranks } = answer.error;
      pending?.settle(new OpswapError(code, message, ranks ? { remedy, ranks } : { remedy }));
    }
  }

  #checked<V extends Verb>(verb: V, result: unknown): Verbs[V]["result"] {
    const parsed = RESULTS[verb]().safeParse(result);
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    const where = `${verb} result, field ${issue?.path.join(".") || "(all)"}`;
    throw new OpswapError("OPSWAP_E_MESSAGE", `${this.#address}: ${where}: ${issue?.message}`);
  }

  #lost(): void {
    this.#greeted = undefined;
    const message = `${this.#address}: the connection was lost; whether the request ran is not known`;
    this.#fail(new OpswapError("OPSWAP_E_NOT_RUNNING", message));
  }

  #fail(error: OpswapError): void {
    for (const { settle } of [...this.#pending.values()]) settle(error);
  }
}
