/** The interface of every client, and the types of its calls' arguments, options and answers. */
import type {
  CallResult,
  Change,
  DoctorResult,
  OpsResult,
  PlanResult,
  ResetResult,
  Service,
  StatusResult,
  UseResult,
  Verb,
  Verbs,
  WhyResult,
} from "../generated/messages.js";
import type { Quantized } from "../types/quantized.js";
import type { OpTensor } from "../types/tensor.js";
import type { Manifest } from "./manifest.js";

/** Numbers that are integers may be given as number or bigint; null is an optional tensor that is not given. */
export type CallArgument = OpTensor | Quantized | number | bigint | boolean | string | null;

export interface UseOptions {
  /** How long a rank may take for each of prepare and commit. */
  timeoutMs?: number | undefined;
  /** Why, for the engine's log. */
  reason?: string | undefined;
  /** Why cached KV stays as good as before; without it running requests are computed anew. */
  neutral?: string | undefined;
  /** Who asks: an owner's freeze does not stop its owner. */
  owner?: string | undefined;
  /** The ticket that an override belongs to. */
  ticket?: string | undefined;
  /** The choice ends by itself after this time, and what ran before runs again; the same `use` again renews it. */
  ttlMs?: number | undefined;
  /** With `ttlMs`: refused, and nothing switched, unless just these overrides are there. */
  renew?: boolean | undefined;
  /** Refused unless this is the committed epoch. */
  ifEpoch?: number | undefined;
}

export interface CallOptions {
  /** Run this implementation, whatever is active. */
  impl?: string | undefined;
  /** What `plan` gave for arguments of these shapes, dtypes and scalars; without one the implementation works it out. */
  plan?: Uint8Array | undefined;
}

/**
 * One interface over two transports: in-process through the addon, and ZeroMQ to an engine or a sidecar.
 * Every method rejects with an OpswapError; what a service does not offer is OPSWAP_E_VERB or OPSWAP_E_UNSUPPORTED.
 */
export interface OpswapClient {
  readonly transport: "local" | "zmq";
  readonly service: Service | "local";
  /** Name of the engine or sidecar, or "local". */
  readonly name: string;
  status(): Promise<StatusResult>;
  /** Active implementation, calls and times of every op, or of one, per rank. */
  ops(op?: string): Promise<OpsResult>;
  /** Each implementation of an op: usable or not, and why, per rank. */
  why(op: string): Promise<WhyResult>;
  /** Switches all of `changes` on every rank at one step, or none. What every rank runs already is no switch. */
  use(changes: readonly Change[], options?: UseOptions): Promise<UseResult>;
  /** Unpins an op, or all: what the library chose at load runs again, and nothing of it is barred. */
  reset(op?: string, options?: Pick<UseOptions, "timeoutMs" | "owner">): Promise<ResetResult>;
  /** Any verb of an engine, by its name in docs/protocol.md: shadows and recordings have no method of their own. */
  ask<V extends Verb>(
    verb: V,
    request: Verbs[V]["request"],
    options?: { timeoutMs?: number | undefined },
  ): Promise<Verbs[V]["result"]>;
  doctor(): Promise<DoctorResult>;
  manifest(): Promise<Manifest>;
  /** Memory for an op's argument; zeroed the first time a region is handed out, otherwise as its last user left it. */
  tensor(dtype: string, shape: readonly number[], strides?: readonly number[]): OpTensor;
  /** Runs one op; results are written into the tensors that it writes to. */
  call(op: string, args: readonly CallArgument[], options?: CallOptions): Promise<CallResult>;
  /** What an implementation works out once for these shapes, dtypes and scalars; empty where it makes no plans. */
  plan(op: string, args: readonly CallArgument[], options?: Pick<CallOptions, "impl">): Promise<PlanResult>;
  /** Ends the connection and gives all memory back. Idempotent. */
  close(): Promise<void>;
}
