import type { Decision } from "./policy.js";
import type { SourceTensor } from "./source.js";

const BLOCK = 128;
/** Layers that engines load into one matrix, in the order of its rows. */
const FUSED: readonly (readonly string[])[] = [
  ["q_proj", "k_proj", "v_proj"],
  ["query", "key", "value"],
  ["gate_proj", "up_proj"],
  ["w1", "w3"],
  ["q_a_proj", "kv_a_proj_with_mqa"],
];
const NAME = /^(?<parent>.*?)(?<leaf>[^.]+)\.weight$/;
const EXPERTS = /^(?<group>.*(^|\.)experts)\.\d+\./;

export interface Linear {
  parent: string;
  leaf: string;
}

export function linearOf(name: string): Linear | undefined {
  const { parent, leaf } = NAME.exec(name)?.groups ?? {};
  return parent === undefined || leaf === undefined ? undefined : { parent, leaf };
}

type Decided = { tensor: SourceTensor; decision: Decision };

/**
 * Keeps whole groups whose parts do not end on a block's border: scale rows of neighbours would share a block, which
 * vLLM 0.33 loads without a word and computes with the wrong scale.
 */
export function keepRaggedGroups(tensors: readonly Decided[]): void {
  const byName = new Map(tensors.map((one) => [one.tensor.name, one]));
  for (const { tensor } of tensors) {
    const linear = linearOf(tensor.name);
    const order = FUSED.find((group) => group[0] === linear?.leaf);
    if (linear === undefined || order === undefined) continue;
    const parts = order.flatMap((leaf) => byName.get(`${linear.parent}${leaf}.weight`) ?? []);
    if (parts.length > 1) keepGroup(order.join(", "), parts, raggedEnd(parts));
  }
  for (const [name, experts] of expertGroups(tensors)) keepGroup(name, experts, raggedExpert(experts));
}

/** All parts or none: engines give one fused matrix one precision. */
function keepGroup(name: string, parts: readonly Decided[], ragged: string | undefined): void {
  const kept = parts.find((part) => !part.decision.quantize);
  if (parts.every((part) => !part.decision.quantize)) return;
  const why = ragged ?? (kept && `fused with ${kept.tensor.name}, which is kept: ${kept.decision.why}`);
  if (why === undefined) return;
  for (const part of parts)
    if (part.decision.quantize) part.decision = { quantize: false, why: `${why} (${name})`, layer: true };
}

/** The last part may be ragged: no other follows it. */
function raggedEnd(parts: readonly Decided[]): string | undefined {
  const bad = parts.slice(0, -1).find(({ tensor }) => (tensor.shape[0] ?? 0) % BLOCK !== 0);
  if (bad === undefined) return undefined;
  return `fused group: ${linearOf(bad.tensor.name)?.leaf} has ${bad.tensor.shape[0]} rows and does not end on a border of ${BLOCK}`;
}

/** Engines refuse experts whose inner width is not whole blocks, on any number of ranks. */
function raggedExpert(experts: readonly Decided[]): string | undefined {
  const inner = experts.find(({ tensor }) => {
    const leaf = linearOf(tensor.name)?.leaf ?? "";
    return /^(gate_proj|up_proj|w1|w3)$/.test(leaf) && (tensor.shape[0] ?? 0) % BLOCK !== 0;
  });
  return (
    inner && `experts with ${inner.tensor.shape[0]} inner features, which are not whole blocks of ${BLOCK}`
  );
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
