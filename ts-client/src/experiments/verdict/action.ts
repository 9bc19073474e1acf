/** What follows from a verdict. */
import type { ExperimentSpec } from "../spec/experiment.js";
import type { Result } from "./bucket.js";

/**
 * hold: go on sampling. rollback: control on all ranks, and the end. pause: sampling stops, a person decides. promotable: a person, or
 * a later step, may take the candidate. end: given up undecided; control stays.
 */
export type Action = "hold" | "rollback" | "pause" | "promotable" | "end";

/** Nothing but a pass ever promotes; what is undecided is held, and left when its time is over. */
export function nextAction(result: Result, spec: ExperimentSpec, elapsedMs: number): Action {
  if (result === "fail") return spec.on_fail;
  if (result === "pass") return "promotable";
  const { timeout } = spec.analysis;
  return timeout !== undefined && elapsedMs >= timeout ? "end" : "hold";
}
