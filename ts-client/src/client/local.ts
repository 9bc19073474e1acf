/** The client of the library in this process. */
import * as z from "zod/mini";
import {
  applied,
  type CallResult,
  type Change,
  type Check,
  type DoctorResult,
  type OpsResult,
  opStats,
  type PlanResult,
  type RankAck,
  type RankStatus,
  type ResetResult,
  type StatusResult,
  type UseResult,
  type Verb,
  type Version,
  version,
  type WhyResult,
} from "../generated/messages.js";
import { loadNative, type Native, type NativeArgument, type NativeTensor } from "../native.js";
import { asOpswapError, OpswapError } from "../types/errors.js";
import { Quantized } from "../types/quantized.js";
import type { OpTensor } from "../types/tensor.js";
import { declared } from "./args.js";
import { type Manifest, readManifest } from "./manifest.js";
import { takeApart } from "./quantized.js";
import { layout } from "./tensor.js";
import type { CallArgument, CallOptions, OpswapClient, UseOptions } from "./types.js";

const stats = z.object({ window_s: z.number(), ops: z.array(opStats()) });
const whyImpl = z.object({
  name: z.string(),
  usable: z.boolean(),
  reason: z._default(z.string(), ""),
  external: z.boolean(),
  priority: z.int(),
  toggle_class: z.optional(applied()),
});
const why = z.object({ active: z.string(), impls: z.array(whyImpl) });

/** Where the library's own remedy names a command that would ask an engine. */
const WHY = "`opswap why OP --local` lists the implementations, with reasons";
const REMEDIES = [
  { name: "OPSWAP_E_NO_OP", remedy: "`opswap manifest --local` lists the ops" },
  { name: "OPSWAP_E_NO_IMPL", remedy: WHY },
  { name: "OPSWAP_E_UNUSABLE", remedy: WHY },
];

class LocalTensor implements OpTensor {
  constructor(
    readonly dtype: string,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
    readonly bytes: Uint8Array,
    readonly native: NativeTensor,
  ) {}

  release(): void {}
}

/** The library in this process: one rank, no engine, no Python. */
export class LocalClient implements OpswapClient {
  readonly transport = "local";
  readonly service = "local";
  readonly name = "local";
  readonly #native: Native;
  readonly #manifest: Manifest;
  readonly #started = Date.now();
  readonly #choice: Record<string, string> = {};
  /** What ran before the first switch of an op. */
  readonly #atLoad: Record<string, string> = {};
  #epoch = 0;
  #closed = false;

  constructor(native: Native = loadNative()) {
    this.#native = native;
    this.#manifest = readManifest(JSON.parse(native.manifest()));
  }

  status(): Promise<StatusResult> {
    return this.#run(() => {
      const library = this.#version();
      return {
        name: this.name,
        pid: process.pid,
        started: this.#started,
        version: library,
        framework: null,
        epoch: this.#epoch,
        choice: { ...this.#choice },
        ranks: [this.#rank(library)],
        switching: false,
        restored: { outcome: "none", message: "a process of its own keeps no choice" },
        trial: {},
        barred: [],
        overrides: [],
        freezes: [],
        divergence: null,
        isolation: null,
        counters: {},
      };
    });
  }

  ops(op?: string): Promise<OpsResult> {
    return this.#run(() => {
      const { window_s, ops: all } = stats.parse(JSON.parse(this.#native.stats()));
      if (op !== undefined) declared(this.#manifest, op);
      const ops = op === undefined ? all : all.filter((row) => row.op === op);
      return { ranks: [{ rank: 0, step: 0, epoch: this.#epoch, window_s, ops }] };
    });
  }

  why(op: string): Promise<WhyResult> {
    return this.#run(() => {
      const answer = why.parse(JSON.parse(this.#native.why(op)));
      return { op, ranks: [{ rank: 0, op_version: declared(this.#manifest, op).version, ...answer }] };
    });
  }

  use(changes: readonly Change[], { ttlMs, renew, ifEpoch }: UseOptions = {}): Promise<UseResult> {
    return this.#run(() => {
      if (ttlMs !== undefined || renew || ifEpoch !== undefined) throw unsupported("use for a time");
      return this.#use(changes);
    });
  }

  reset(op?: string): Promise<ResetResult> {
    return this.#run(() => {
      if (op !== undefined) declared(this.#manifest, op);
      const ops = Object.keys(this.#choice).filter((chosen) => op === undefined || chosen === op);
      const result = this.#use(ops.map((each) => ({ op: each, impl: this.#atLoad[each] ?? "" })));
      for (const each of ops) delete this.#choice[each];
      return { ...result, lifted: [] };
    });
  }

  ask<V extends Verb>(verb: V): Promise<never> {
    return Promise.reject(unsupported(verb));
  }

  doctor(): Promise<DoctorResult> {
    return this.#run(() => {
      const library = this.#version();
      const checks: Check[] = [
        { name: "library", state: "ok", message: `${library.pack_version}, ${library.cpu_isa}`, remedy: "" },
        { name: "device", state: "ok", message: library.device_status, remedy: "" },
      ];
      return { healthy: true, checks };
    });
  }

  manifest(): Promise<Manifest> {
    return this.#run(() => this.#manifest);
  }

  tensor(dtype: string, shape: readonly number[], strides?: readonly number[]): OpTensor {
    const placed = layout(dtype, shape, strides);
    const bytes = new Uint8Array(allocated(placed.bytes));
    const native = this.#native.tensor(bytes, dtype, placed.shape, placed.strides);
    return new LocalTensor(dtype, placed.shape, placed.strides, bytes, native);
  }

  call(op: string, args: readonly CallArgument[], options: CallOptions = {}): Promise<CallResult> {
    return this.#run(() => {
      const natives = this.#natives(op, args);
      const impl = options.impl ?? why.parse(JSON.parse(this.#native.why(op))).active;
      const before = process.hrtime.bigint();
      this.#native.call(op, natives, options.impl, options.plan);
      return { op, impl, elapsed_ns: Number(process.hrtime.bigint() - before) };
    });
  }

  plan(op: string, args: readonly CallArgument[], options: CallOptions = {}): Promise<PlanResult> {
    return this.#run(() => {
      const impl = options.impl ?? why.parse(JSON.parse(this.#native.why(op))).active;
      return { op, impl, plan: this.#native.plan(op, this.#natives(op, args), impl) };
    });
  }

  reference(): Promise<never> {
    return Promise.reject(
      new OpswapError("OPSWAP_E_UNSUPPORTED", "reference: the library in this process has no references", {
        remedy: "leave --local out: references run in a sidecar",
      }),
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #natives(op: string, args: readonly CallArgument[]): NativeArgument[] {
    if (!args.some((argument) => argument instanceof Quantized)) return args.map(nativeArgument);
    return takeApart(declared(this.#manifest, op), args).args.map(nativeArgument);
  }

  #use(changes: readonly Change[]): UseResult {
    const previous = this.#switch(changes);
    for (const { op, impl } of changes) {
      this.#choice[op] = impl;
      this.#atLoad[op] ??= previous[op] ?? "";
    }
    const isSwitched = changes.some(({ op, impl }) => previous[op] !== impl);
    if (isSwitched) this.#epoch += 1;
    const ack: RankAck = { rank: 0, step: 0, epoch: this.#epoch, previous, applied: "live" };
    const acks = isSwitched ? [ack] : [];
    return { epoch: this.#epoch, step: 0, changes: [...changes], acks, isolation: null };
  }

  /** Applies every change, or puts back those that were applied and throws. */
  #switch(changes: readonly Change[]): Record<string, string> {
    const previous: Record<string, string> = {};
    try {
      for (const { op, impl } of changes) previous[op] = this.#native.use(op, impl);
    } catch (error) {
      for (const [op, impl] of Object.entries(previous)) this.#native.use(op, impl);
      throw error;
    }
    return previous;
  }

  #version(): Version {
    return version().parse(JSON.parse(this.#native.version()));
  }

  #rank(library: Version): RankStatus {
    const digest = library.build_digest;
    return {
      rank: 0,
      step: 0,
      epoch: this.#epoch,
      prepared: null,
      build_digest: digest,
      choice: { ...this.#choice },
      at_load: { ...this.#atLoad },
    };
  }

  async #run<T>(work: () => T): Promise<T> {
    if (this.#closed) throw new OpswapError("OPSWAP_E_CLOSED", "local: the client is closed");
    try {
      return work();
    } catch (error) {
      throw asOpswapError(error, [...REMEDIES, ...this.#manifest.errors]);
    }
  }
}

function allocated(bytes: number): ArrayBuffer {
  try {
    return new ArrayBuffer(bytes);
  } catch (cause) {
    throw new OpswapError(
      "OPSWAP_E_MEMORY",
      `a tensor needs ${bytes} bytes, which this process cannot have`,
      { cause },
    );
  }
}

function nativeArgument(argument: CallArgument): NativeArgument {
  if (argument === null || typeof argument !== "object") return argument;
  if (argument instanceof LocalTensor) return argument.native;
  throw new OpswapError("OPSWAP_E_ARGUMENT", "call: a tensor was made by another client", {
    remedy: "allocate it with the tensor() of the client that makes the call",
  });
}

function unsupported(what: string): OpswapError {
  return new OpswapError("OPSWAP_E_UNSUPPORTED", `${what}: the library in this process is no engine`, {
    remedy: "leave --local out, or name an engine",
  });
}
