/** The layers that an output keeps and quantises, by the names that loaders ask for. */
import type { Modules } from "../formats/types.js";
import type { Decided } from "../policy/decision.js";
import { isHeadTied, moduleOf } from "../source/layer-names.js";

/** Loaders look layers up by name; what is no linear layer is not asked for there. */
export function modulesOf(decided: readonly Decided[]): Modules {
  const names = (chosen: readonly Decided[]) =>
    [...new Set(chosen.map(({ tensor }) => moduleOf(tensor)))].sort();
  return {
    kept: names(decided.filter(({ decision }) => !decision.quantize && decision.layer)),
    quantized: names(decided.filter(({ decision }) => decision.quantize)),
    tiedHead: isHeadTied(decided.map(({ tensor }) => tensor.name)),
  };
}
