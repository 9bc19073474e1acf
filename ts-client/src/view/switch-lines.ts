/** What a switch did, as lines for people. */
import type { Outcome } from "../client/switch-everywhere.js";
import type { UseResult } from "../generated/messages.js";

/** One line for the switch and one for the acknowledgement of each rank. */
export function switchLines({ changes, epoch, step, acks }: UseResult): string[] {
  const what = changes.map(({ op, impl }) => `${op} -> ${impl}`).join(", ");
  const ranks = acks.map((ack) => {
    const before = Object.entries(ack.previous).map(([op, impl]) => `${op} was ${impl}`);
    return `  rank ${ack.rank}: step ${ack.step}, epoch ${ack.epoch}, ${ack.applied}; ${before.join(", ")}`;
  });
  return [
    `${what}: epoch ${epoch}, from step ${step} on ${acks.length} rank${acks.length === 1 ? "" : "s"}`,
    ...ranks,
  ];
}

/** The same for each engine, by its name. */
export function outcomeLines(outcome: Outcome): string[] {
  if ("error" in outcome) return [`${outcome.engine}: not switched`];
  return switchLines(outcome.result).map((line) => `${outcome.engine}: ${line}`);
}
