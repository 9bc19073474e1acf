/** Answers of an engine for tests of the console and the feed. */
import type { OpswapClient } from "../client/index.js";
import type { RankOps, StatusResult, UseResult, WhyResult } from "../generated/messages.js";

/** Two ranks of two ops, for tests of the console. */
export function ranks(active = "cpu", epoch = 0): RankOps[] {
  return [0, 1].map((rank) => ({
    rank,
    step: 10,
    epoch,
    window_s: 20,
    ops: [
      { op: "rms_norm", active, impls: [impl("ref", 0), impl("cpu", 30)] },
      { op: "linear", active: "cpu", impls: [impl("ref", 0), impl("cpu", 5 + rank)] },
    ],
  }));
}

function impl(name: string, calls: number) {
  const times = { timed: calls, mean_ns: calls * 100, p50_ns: calls * 90, p99_ns: calls * 300 };
  return { name, calls, errors: 0, ...times, buckets: [], beyond_buckets: 0 };
}

const version = {
  abi_major: 1,
  abi_minor: 0,
  manifest_schema: 1,
  pack_version: "0.1.0",
  build_digest: "d".repeat(64),
  cpu_isa: "avx2",
  device_status: "no device",
};

export function status(epoch = 0): StatusResult {
  const one = {
    step: 10,
    epoch,
    prepared: null,
    build_digest: version.build_digest,
    choice: {},
    at_load: {},
  };
  return {
    name: "demo",
    pid: 1,
    started: 0,
    version,
    framework: { name: "vllm", version: "0.33.0", model: "smollm2" },
    epoch,
    choice: {},
    ranks: [
      { rank: 0, ...one },
      { rank: 1, ...one },
    ],
    switching: false,
    restored: { outcome: "none", message: "" },
    trial: {},
    barred: [],
    overrides: [],
    freezes: [],
    divergence: null,
    isolation: null,
    counters: {},
  };
}

export const WHY: WhyResult = {
  op: "linear",
  ranks: [0, 1].map((rank) => ({
    rank,
    op_version: 1,
    active: "cpu",
    impls: [
      { name: "ref", usable: true, reason: "", external: false, priority: 0 },
      { name: "cpu", usable: true, reason: "", external: false, priority: 10 },
      { name: "sm90", usable: false, reason: "no CUDA device", external: false, priority: 20 },
    ],
  })),
};

export const SWITCHED: UseResult = {
  epoch: 1,
  step: 11,
  changes: [{ op: "linear", impl: "ref" }],
  acks: [0, 1].map((rank) => ({
    rank,
    step: 11,
    epoch: 1,
    previous: { linear: "cpu" },
    applied: "live" as const,
  })),
  isolation: { epoch: 1, outcome: "isolated", reason: "", requests: 3, recomputed_ms: null },
};

/** A client of which a test says what it answers; what the test does not say is not there. */
export function clientOf(answers: Partial<OpswapClient>): OpswapClient {
  return { close: async () => {}, ...answers } as OpswapClient;
}
