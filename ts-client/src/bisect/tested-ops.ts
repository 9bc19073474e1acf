/** Which ops a bisect can tell apart: those that the engine called for the prompt, and that have the yardstick. */
import type { Manifest, OpswapClient } from "../client/index.js";
import type { Barred } from "../generated/messages.js";
import { OpswapError } from "../types/errors.js";

export interface TestedOp {
  op: string;
  /** What runs it now, on every rank. */
  now: string;
}
export interface Untested {
  op: string;
  reason: string;
}
export interface Ops {
  tested: TestedOp[];
  untested: Untested[];
}

/** Calls since the ranks' start, by op, over all ranks and implementations. */
export type Calls = ReadonlyMap<string, number>;

export async function callsOf(client: OpswapClient): Promise<Calls> {
  const calls = new Map<string, number>();
  for (const { ops } of (await client.ops()).ranks)
    for (const { op, impls } of ops)
      calls.set(
        op,
        impls.reduce((sum, impl) => sum + impl.calls, calls.get(op) ?? 0),
      );
  return calls;
}

/** Ops with more calls than before. */
export function called(before: Calls, after: Calls): string[] {
  return [...after].filter(([op, calls]) => calls > (before.get(op) ?? 0)).map(([op]) => op);
}

interface Wanted {
  seen: readonly string[];
  against: string;
  only: readonly string[] | undefined;
  barred: readonly Barred[];
}

/** Of the ops that were called, and of those that `only` names, what can be tested against the yardstick. */
export async function opsToTest(
  client: OpswapClient,
  manifest: Manifest,
  { seen, against, only, barred }: Wanted,
): Promise<Ops> {
  const found: Ops = { tested: [], untested: [] };
  for (const op of only ?? seen) {
    const one = seen.includes(op)
      ? await judged(client, op, against)
      : { reason: "the engine does not call it for this prompt" };
    if (!("now" in one)) {
      found.untested.push({ op, ...one });
      continue;
    }
    // What is barred is not switched to, so that it could not be put back either.
    const bar = barred.find((row) => row.op === op && [one.now, against].includes(row.impl));
    if (bar === undefined) found.tested.push({ op, ...one });
    else found.untested.push({ op, reason: `${bar.impl} is barred: ${bar.reason}` });
  }
  return withoutComposites(manifest, found);
}

async function judged(
  client: OpswapClient,
  op: string,
  against: string,
): Promise<{ now: string } | { reason: string }> {
  const { ranks } = await client.why(op);
  const active = new Set(ranks.map((rank) => rank.active));
  const [now = ""] = active;
  if (active.size > 1)
    throw new OpswapError("OPSWAP_E_DIVERGED", `ranks run ${op} as ${[...active].join(", ")}`);
  if (now === against) return { reason: `${against} runs it already` };
  for (const { rank, impls } of ranks) {
    const yardstick = impls.find(({ name }) => name === against);
    if (yardstick === undefined) return { reason: `it has no ${against}` };
    if (!yardstick.usable) return { reason: `rank ${rank} cannot run ${against}: ${yardstick.reason}` };
  }
  return { now };
}

/**
 * A composite that only calls other ops is left to these: with it on the yardstick they would not be called, so that
 * either of them would mend the same fault.
 */
function withoutComposites(manifest: Manifest, { tested, untested }: Ops): Ops {
  const names = new Set(tested.map(({ op }) => op));
  const partsOf = ({ op, now }: TestedOp) => {
    if (now !== "composed") return [];
    const parts = manifest.ops.find((one) => one.op === op)?.composes ?? [];
    return parts.every((part) => names.has(part)) ? parts : [];
  };
  const left = tested.filter((one) => partsOf(one).length > 0);
  const reasons = left.map((one) => ({
    op: one.op,
    reason: `it is made of ${partsOf(one).join(" and ")}, which are tested`,
  }));
  return { tested: tested.filter((one) => !left.includes(one)), untested: [...untested, ...reasons] };
}
