/** Reads from the names of tensors to which layer they belong, which are experts, and which are fused. */
import type { TensorEntry } from "./safetensors/header.js";

const NAME = /^(?<parent>.*?)(?<leaf>[^.]+)\.weight$/;
const EXPERTS = /^(?<group>.*(^|\.)experts)\.\d+\./;

/** What holds all experts that this tensor's is one of; undefined for what is no part of an expert. */
export const expertsOf = (name: string) => EXPERTS.exec(name)?.groups?.group;
export const isExpert = (name: string) => EXPERTS.test(name);

export interface Linear {
  parent: string;
  leaf: string;
}

export function linearOf(name: string): Linear | undefined {
  const { parent, leaf } = NAME.exec(name)?.groups ?? {};
  return parent === undefined || leaf === undefined ? undefined : { parent, leaf };
}

/** All experts of a layer in one tensor, whose module engines ask about by name. */
export const isStacked = (name: string, shape: readonly number[]) =>
  shape.length === 3 && /(^|\.)experts\.\w+(\.weight)?$/.test(name);

/** Whether the output head has no tensor of its own. */
export const isHeadTied = (names: readonly string[]) =>
  !names.some((name) => /(^|\.)lm_head\.weight$/.test(name));

/** The layer that a tensor is of; stacked experts are all of one. */
export function moduleOf({ name, shape }: Pick<TensorEntry, "name" | "shape">): string {
  return isStacked(name, shape) ? name.replace(/(\.experts)\..*$/, "$1") : name.replace(/\.weight$/, "");
}

/**
 * Names of the tensors that are fused with this one, itself included, in the order of their rows: those of the group
 * of which most are there, since some models have parts that others lack.
 */
export function fusedNames(
  name: string,
  groups: readonly (readonly string[])[],
  exists: (name: string) => boolean,
): string[] {
  const linear = linearOf(name);
  let most = [name];
  if (linear === undefined) return most;
  for (const group of groups) {
    if (!group.includes(linear.leaf)) continue;
    const there = group.map((leaf) => `${linear.parent}${leaf}.weight`).filter(exists);
    if (there.length > most.length) most = there;
  }
  return most;
}
