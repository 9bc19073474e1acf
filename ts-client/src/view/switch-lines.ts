/** What a switch did, as lines for people. */
import type { Outcome } from "../client/switch-everywhere.js";
import type { Isolation, ResetResult, UseResult } from "../generated/messages.js";

/** One line for the switch, one for the acknowledgement of each rank, and one for the cached KV. */
export function switchLines({ changes, epoch, step, acks, isolation }: UseResult): string[] {
  const what = changes.map(({ op, impl }) => `${op} -> ${impl}`).join(", ");
  if (acks.length === 0) return [`${what}: every rank runs this already; nothing was switched`];
  const ranks = acks.map((ack) => {
    const before = Object.entries(ack.previous).map(([op, impl]) => `${op} was ${impl}`);
    return `  rank ${ack.rank}: step ${ack.step}, epoch ${ack.epoch}, ${ack.applied}; ${before.join(", ")}`;
  });
  return [
    `${what}: epoch ${epoch}, from step ${step} on ${acks.length} rank${acks.length === 1 ? "" : "s"}`,
    ...ranks,
    ...(isolation === null ? [] : [`  ${isolationLine(isolation)}`]),
  ];
}

/** What a reset did. */
export function resetLines({ lifted, ...switched }: ResetResult): string[] {
  const lines = switched.changes.length > 0 ? switchLines(switched) : ["nothing was switched"];
  return [...lines, ...lifted.map(({ op, impl, reason }) => `no longer barred: ${op}=${impl} (${reason})`)];
}

/** What became of the cached KV. */
export function isolationLine({ outcome, reason, requests, recomputed_ms }: Isolation): string {
  if (outcome === "neutral") return `cached KV kept: ${reason}`;
  if (outcome === "pending") return `CACHED KV MAY BE OF THE OLD KERNELS: ${reason}`;
  if (requests === 0) return "cached KV isolated: no request ran";
  const time =
    recomputed_ms === null ? "are computed anew" : `were computed anew in ${recomputed_ms.toFixed(0)} ms`;
  return `cached KV isolated: ${requests} running requests ${time}`;
}

/** The same for each engine, by its name. */
export function outcomeLines(outcome: Outcome): string[] {
  if ("error" in outcome) return [`${outcome.engine}: not switched`];
  return switchLines(outcome.result).map((line) => `${outcome.engine}: ${line}`);
}
