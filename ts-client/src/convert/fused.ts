import type { Decision } from "./policy.js";
import type { Group } from "./readers/layers.js";
import type { SourceTensor } from "./source.js";

const NAME = /^(?<parent>.*?)(?<leaf>[^.]+)\.weight$/;
const EXPERTS = /^(?<group>.*(^|\.)experts)\.\d+\./;

export const isExpert = (name: string) => EXPERTS.test(name);

export interface Linear {
  parent: string;
  leaf: string;
}

export function linearOf(name: string): Linear | undefined {
  const { parent, leaf } = NAME.exec(name)?.groups ?? {};
  return parent === undefined || leaf === undefined ? undefined : { parent, leaf };
}

type Decided = { tensor: SourceTensor; decision: Decision };

/** Matrices that engines load into one, in the order of its rows; or a single one. */
export interface FusedGroup {
  leaves: readonly string[];
  rows: readonly number[];
  columns: number;
  expert: boolean;
}

/** Why a layout cannot have such a group. */
export type Obstacle = (group: FusedGroup) => string | undefined;

/**
 * Names of the tensors that are fused with this one, itself included, in the order of their rows: those of the group
 * of which most are there, since some models have parts that others lack.
 */
export function fusedNames(
  name: string,
  groups: readonly Group[],
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

/** Keeps groups that a layout cannot have whole: engines give one fused matrix one precision, and all experts one. */
export function keepUnfit(tensors: readonly Decided[], groups: readonly Group[], obstacle: Obstacle): void {
  const byName = new Map(tensors.map((one) => [one.tensor.name, one]));
  for (const { tensor } of tensors) {
    const names = fusedNames(tensor.name, groups, (name) => byName.has(name));
    const parts = names.flatMap((name) => byName.get(name) ?? []);
    if (names[0] === tensor.name && tensor.shape.length === 2)
      keepGroup(leavesOf(parts).join(", "), parts, obstacle(groupOf(parts)));
  }
  for (const [name, experts] of expertGroups(tensors)) keepGroup(name, experts, undefined);
}

const leavesOf = (parts: readonly Decided[]) => parts.map(({ tensor }) => linearOf(tensor.name)?.leaf ?? "");

function groupOf(parts: readonly Decided[]): FusedGroup {
  const [first] = parts;
  return {
    leaves: leavesOf(parts),
    rows: parts.map(({ tensor }) => tensor.shape[0] ?? 0),
    columns: first?.tensor.shape[1] ?? 0,
    expert: isExpert(first?.tensor.name ?? ""),
  };
}

/** All parts or none. */
function keepGroup(name: string, parts: readonly Decided[], obstacle: string | undefined): void {
  const kept = parts.find((part) => !part.decision.quantize);
  if (parts.every((part) => !part.decision.quantize)) return;
  const why = obstacle ?? (kept && `fused with ${kept.tensor.name}, which is kept: ${kept.decision.why}`);
  if (why === undefined) return;
  const members = parts.length > 1 ? ` (${name})` : "";
  for (const part of parts)
    if (part.decision.quantize) part.decision = { quantize: false, why: `${why}${members}`, layer: true };
}

function expertGroups(tensors: readonly Decided[]): Map<string, Decided[]> {
  const groups = new Map<string, Decided[]>();
  for (const one of tensors) {
    const group = EXPERTS.exec(one.tensor.name)?.groups?.group;
    if (group === undefined || one.tensor.shape.length !== 2 || !one.tensor.name.endsWith(".weight"))
      continue;
    const members = groups.get(group);
    if (members) members.push(one);
    else groups.set(group, [one]);
  }
  return groups;
}
