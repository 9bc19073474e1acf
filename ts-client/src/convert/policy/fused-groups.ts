/** Keeps matrices in their own precision where others that engines fuse with them cannot be quantised. */
import type { FusedGroup, Obstacle } from "../formats/types.js";
import type { Group } from "../readers/layers.js";
import { expertsOf, fusedNames, isExpert, linearOf } from "../source/layer-names.js";
import type { SourceTensor } from "../source/source.js";
import type { Decision } from "./decision.js";

type Decided = { tensor: SourceTensor; decision: Decision };

/** Keeps groups that a layout cannot have whole: engines give one fused matrix one precision, and all experts one. */
export function keepUnfitGroups(
  tensors: readonly Decided[],
  groups: readonly Group[],
  obstacle: Obstacle,
): void {
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
    const group = expertsOf(one.tensor.name);
    if (group === undefined || one.tensor.shape.length !== 2 || !one.tensor.name.endsWith(".weight"))
      continue;
    const members = groups.get(group);
    if (members) members.push(one);
    else groups.set(group, [one]);
  }
  return groups;
}
