/** The client of an engine or a sidecar. */
import type {
  CallArg,
  CallResult,
  Change,
  DoctorResult,
  OpsResult,
  PlanResult,
  ReferenceResult,
  ResetResult,
  Service,
  StatusResult,
  UseResult,
  Verb,
  Verbs,
  WhyResult,
} from "../generated/messages.js";
import { loadNative } from "../native.js";
import { OpswapError } from "../types/errors.js";
import { Quantized } from "../types/quantized.js";
import type { OpTensor } from "../types/tensor.js";
import { declared } from "./args.js";
import { Connection } from "./connection.js";
import { type DiscoveredService, find } from "./discovery.js";
import { type Manifest, readManifest } from "./manifest.js";
import { takeApart } from "./quantized.js";
import { type Segment, SegmentPool, type SharedMemory } from "./shm.js";
import { explained } from "./silence.js";
import { layout } from "./tensor.js";
import type { CallArgument, CallOptions, OpswapClient, UseOptions } from "./types.js";

const DEFAULT_TIMEOUT_MS = 10_000;
const USE_TIMEOUT_MS = 30_000;
const CALL_TIMEOUT_MS = 600_000;
const CLIENT = "opswap ts-client";

export interface ConnectOptions {
  /** Which engine or sidecar; may be left out when exactly one is running. */
  name?: string | undefined;
  /** Folder of the sockets; when left out, those that the environment names are searched. */
  runtimeDir?: string | undefined;
  /** For every verb but `use` and `call`, which state their own. */
  timeoutMs?: number | undefined;
  /** Do not wait for the greeting: the first request is sent right behind it, and tells what is wrong. */
  atOnce?: boolean | undefined;
  /** Where tensors are allocated; the addon when left out. */
  memory?: SharedMemory | undefined;
}

class SharedTensor implements OpTensor {
  #released = false;

  constructor(
    readonly dtype: string,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
    readonly bytes: Uint8Array,
    readonly segment: Segment,
    readonly pool: SegmentPool,
  ) {}

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.pool.release(this.segment);
  }
}

/** An engine's agent or a sidecar, over its socket. */
export class ZmqClient implements OpswapClient {
  readonly transport = "zmq";
  readonly service: Service;
  readonly name: string;
  readonly #connection: Connection;
  readonly #timeoutMs: number;
  readonly #memory: SharedMemory | undefined;
  /** Asked for once, by the first call with a quantised argument. */
  #manifest: Promise<Manifest> | undefined;
  #pool: SegmentPool | undefined;

  private constructor(found: DiscoveredService, options: ConnectOptions) {
    this.service = found.service;
    this.name = found.name;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#memory = options.memory;
    this.#connection = new Connection(found.socket, CLIENT, (error) => explained(error, found));
  }

  /** Finds the server, connects, and says hello, so that a wrong protocol is known here and not at the first call. */
  static async connect(service: Service, options: ConnectOptions = {}): Promise<ZmqClient> {
    const found = find(service, options.name, options.runtimeDir);
    const client = new ZmqClient(found, options);
    if (options.atOnce) return client;
    try {
      await client.#connection.hello(client.#timeoutMs);
      return client;
    } catch (error) {
      await client.close();
      throw explained(error, found);
    }
  }

  status(): Promise<StatusResult> {
    return this.#connection.request("status", {}, this.#timeoutMs);
  }

  ops(op?: string): Promise<OpsResult> {
    return this.#connection.request("ops", op === undefined ? {} : { op }, this.#timeoutMs);
  }

  why(op: string): Promise<WhyResult> {
    return this.#connection.request("why", { op }, this.#timeoutMs);
  }

  use(changes: readonly Change[], options: UseOptions = {}): Promise<UseResult> {
    const timeout = options.timeoutMs ?? USE_TIMEOUT_MS;
    const { reason, neutral, owner, ticket, renew } = options;
    const how = { reason, neutral, owner, ticket, renew, ttl_ms: options.ttlMs, if_epoch: options.ifEpoch };
    const fields = { changes: [...changes], timeout_ms: timeout, ...given(how) };
    // Prepare, commit, and both again when a commit that went wrong is taken back.
    return this.#connection.request("use", fields, 4 * timeout + this.#timeoutMs);
  }

  reset(
    op?: string,
    { timeoutMs, owner }: Pick<UseOptions, "timeoutMs" | "owner"> = {},
  ): Promise<ResetResult> {
    const timeout = timeoutMs ?? USE_TIMEOUT_MS;
    const fields = { timeout_ms: timeout, ...given({ op, owner }) };
    return this.#connection.request("reset", fields, 4 * timeout + this.#timeoutMs);
  }

  ask<V extends Verb>(
    verb: V,
    request: Verbs[V]["request"],
    { timeoutMs = 0 }: Pick<UseOptions, "timeoutMs"> = {},
  ): Promise<Verbs[V]["result"]> {
    return this.#connection.request(verb, request, timeoutMs + this.#timeoutMs);
  }

  doctor(): Promise<DoctorResult> {
    return this.#connection.request("doctor", {}, this.#timeoutMs);
  }

  async manifest(): Promise<Manifest> {
    const { manifest } = await this.#connection.request("manifest", {}, this.#timeoutMs);
    return readManifest(manifest);
  }

  tensor(dtype: string, shape: readonly number[], strides?: readonly number[]): OpTensor {
    if (this.service !== "sidecar") {
      const message = `${this.name} is an engine, which runs no ops on request`;
      throw new OpswapError("OPSWAP_E_UNSUPPORTED", message, { remedy: "use the sidecar: `opswap sidecar`" });
    }
    const placed = layout(dtype, shape, strides);
    this.#pool ??= new SegmentPool(this.#memory ?? loadNative());
    const segment = this.#pool.take(placed.bytes);
    const bytes = new Uint8Array(segment.buffer, 0, placed.bytes);
    return new SharedTensor(dtype, placed.shape, placed.strides, bytes, segment, this.#pool);
  }

  async call(op: string, args: readonly CallArgument[], options: CallOptions = {}): Promise<CallResult> {
    const { impl, plan } = options;
    const fields = { op, ...(await this.#wired(op, args)), ...(impl && { impl }), ...(plan && { plan }) };
    return this.#connection.request("call", fields, CALL_TIMEOUT_MS);
  }

  async plan(op: string, args: readonly CallArgument[], options: CallOptions = {}): Promise<PlanResult> {
    const { args: wired } = await this.#wired(op, args);
    const fields = { op, args: wired, ...(options.impl && { impl: options.impl }) };
    return this.#connection.request("plan", fields, this.#timeoutMs);
  }

  async reference(
    op: string,
    args: readonly CallArgument[],
    outputs: Readonly<Record<string, OpTensor>>,
  ): Promise<ReferenceResult> {
    const wired = Object.entries(outputs).map(([name, tensor]) => [name, this.#wire(tensor)]);
    const fields = {
      op,
      args: args.map((argument) => this.#wire(argument)),
      outputs: Object.fromEntries(wired),
    };
    return this.#connection.request("reference", fields, CALL_TIMEOUT_MS);
  }

  async close(): Promise<void> {
    this.#connection.close();
    this.#pool?.close();
  }

  async #wired(
    op: string,
    args: readonly CallArgument[],
  ): Promise<{ args: CallArg[]; layouts?: Record<string, string> }> {
    if (!args.some((argument) => argument instanceof Quantized)) {
      return { args: args.map((argument) => this.#wire(argument)) };
    }
    this.#manifest ??= this.manifest();
    const { args: apart, layouts } = takeApart(declared(await this.#manifest, op), args);
    return { args: apart.map((argument) => this.#wire(argument)), layouts };
  }

  #wire(argument: CallArgument): CallArg {
    if (argument === null || typeof argument !== "object") return argument;
    if (argument instanceof SharedTensor && argument.pool === this.#pool) {
      const { dtype, segment } = argument;
      return {
        segment: segment.name,
        offset: 0,
        dtype,
        shape: [...argument.shape],
        strides: [...argument.strides],
      };
    }
    throw new OpswapError("OPSWAP_E_ARGUMENT", "call: a tensor was made by another client", {
      remedy: "allocate it with the tensor() of the client that makes the call",
    });
  }
}

/** The fields that were given. */
function given<T extends object>(fields: T) {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
