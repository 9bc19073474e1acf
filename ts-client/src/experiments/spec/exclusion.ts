/** Which experiments exclude each other, and what a freeze forbids. */
import type { Manifest } from "../../client/manifest.js";
import { OpswapError } from "../../types/errors.js";
import type { ExperimentSpec, FreezeSpec } from "./experiment.js";

/** The ops that run under an op: itself, and what it is composed of, however deep. */
function opsUnder(manifest: Manifest, op: string): ReadonlySet<string> {
  const found = new Set<string>();
  const visit = (name: string): void => {
    if (found.has(name)) return;
    found.add(name);
    for (const lower of manifest.ops.find((one) => one.op === name)?.composes ?? []) visit(lower);
  };
  visit(op);
  return found;
}

/** The ops of which a shadow would share an op with one of `op`: itself, what it is made of, and what is made of any of those. */
export function relatedOps(manifest: Manifest, op: string): string[] {
  const mine = opsUnder(manifest, op);
  const all = manifest.ops.map((one) => one.op);
  return all.filter((name) => [...opsUnder(manifest, name)].some((under) => mine.has(under)));
}

/** An op that both touch, whose numbers would then be of neither; undefined where there is none. */
function sharedOp(manifest: Manifest, one: ExperimentSpec, other: ExperimentSpec): string | undefined {
  const ops = opsUnder(manifest, other.op);
  return [...opsUnder(manifest, one.op)].find((op) => ops.has(op));
}

/** Refuses experiments of which two share an op or a composite. */
export function refuseShared(manifest: Manifest, specs: readonly ExperimentSpec[]): void {
  for (const [i, one] of specs.entries()) {
    for (const other of specs.slice(i + 1)) {
      const shared = sharedOp(manifest, one, other);
      if (shared === undefined) continue;
      const message = `${one.name} and ${other.name} both touch ${shared}: of two experiments on one op neither could be judged`;
      throw new OpswapError("OPSWAP_E_EXCLUDED", message, {
        remedy: "run one after the other, or choose ops that share nothing",
      });
    }
  }
}

/** Whether a freeze lasts at a time; it ends by itself, whatever becomes of its owner. */
function lasts({ from, until }: FreezeSpec, at: Date): boolean {
  const now = at.getTime();
  return (from === undefined || Date.parse(from) <= now) && now < Date.parse(until);
}

/** The freeze that forbids `who` a change of an op at a time; undefined where none does. */
function freezeOn(
  manifest: Manifest,
  freezes: readonly FreezeSpec[],
  { op, who, at }: { op: string; who: string | undefined; at: Date },
): FreezeSpec | undefined {
  const touched = opsUnder(manifest, op);
  return freezes.find(
    (freeze) =>
      freeze.owner !== who &&
      lasts(freeze, at) &&
      (freeze.ops.length === 0 ||
        freeze.ops.some((name) => touched.has(name) || opsUnder(manifest, name).has(op))),
  );
}

/** Refuses experiments that a freeze forbids now. */
export function refuseFrozen(
  manifest: Manifest,
  freezes: readonly FreezeSpec[],
  specs: readonly ExperimentSpec[],
  at: Date,
): void {
  for (const { name, op, owner } of specs) {
    const freeze = freezeOn(manifest, freezes, { op, who: owner, at });
    if (freeze === undefined) continue;
    const message = `${name}: ${op} is frozen by ${freeze.owner} until ${freeze.until}: ${freeze.reason}`;
    throw new OpswapError("OPSWAP_E_EXCLUDED", message, {
      remedy: `wait, or ask ${freeze.owner} to end ${freeze.name}`,
    });
  }
}
