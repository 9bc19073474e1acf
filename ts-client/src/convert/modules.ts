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
    tiedHead: isHeadTied(decided.map(({ tensor }) => tensor.name)),
  };
}

/** Whether the output head has no tensor of its own. */
export const isHeadTied = (names: readonly string[]) =>
  !names.some((name) => /(^|\.)lm_head\.weight$/.test(name));

/** The layer that a tensor is of; stacked experts are all of one. */
export function moduleOf({ name, shape }: Pick<TensorEntry, "name" | "shape">): string {
  return isStacked(name, shape) ? name.replace(/(\.experts)\..*$/, "$1") : name.replace(/\.weight$/, "");
}
