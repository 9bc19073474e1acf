import type { Modules } from "./formats/types.js";
import type { Decided } from "./plan-file.js";
import { isStacked } from "./policy.js";
import type { TensorEntry } from "./safetensors/header.js";

/** Loaders look layers up by name; what is no linear layer is not asked for there. */
export function modulesOf(decided: readonly Decided[]): Modules {
  const names = (chosen: readonly Decided[]) =>
    [...new Set(chosen.map(({ tensor }) => moduleOf(tensor)))].sort();
  return {
    kept: names(decided.filter(({ decision }) => !decision.quantize && decision.layer)),
    quantized: names(decided.filter(({ decision }) => decision.quantize)),
    tiedHead: !decided.some(({ tensor: { name } }) => /(^|\.)lm_head\.weight$/.test(name)),
  };
}

/** The layer that a tensor is of; stacked experts are all of one. */
function moduleOf({ name, shape }: TensorEntry): string {
  return isStacked(name, shape) ? name.replace(/(\.experts)\..*$/, "$1") : name.replace(/\.weight$/, "");
}
