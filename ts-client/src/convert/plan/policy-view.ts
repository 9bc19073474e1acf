/** What `opswap convert policy` shows: the rules, and what they make of a source. */
import { convertError } from "../errors.js";
import { bf16, formatNamed } from "../formats/index.js";
import { POLICIES } from "../options/choices.js";
import type { ConvertOptions } from "../options/options.js";
import { policyRules } from "../policy/policy.js";
import { layersFor } from "../readers/layers.js";
import type { Source } from "../source/source.js";
import { makePlan } from "./plan.js";

export interface PolicyView {
  policy: string;
  means: string;
  layout: string;
  /** The first that applies to a tensor decides. */
  rules: { action: "keep" | "quantize"; tensors: string; why: string }[];
  /** Layers that are kept or quantised together, because engines load them as one. */
  together: readonly (readonly string[])[];
  /** What comes of it for a source: tensors by what becomes of them, and why. */
  outcome: { action: string; why: string; tensors: number; bytes: number; first: string }[] | null;
}

/** Which tensors stay as they are: declared, and where a source is given what comes of it, fused groups included. */
export function policyView(options: ConvertOptions, source: Source | null): PolicyView {
  const format = formatNamed(options.to);
  if (format === bf16)
    throw convertError(
      "OPSWAP_E_CANNOT_CONVERT",
      `${format.id} quantises nothing: no policy decides`,
      "name a quantised layout with --to",
    );
  const { policy: name, keep, quantize } = options;
  const layers = layersFor(source, options.for);
  const rules = policyRules({ name, keep, quantize, layers }).map(({ tensors, decision }) => ({
    action: decision.quantize ? ("quantize" as const) : ("keep" as const),
    tensors,
    why: decision.why,
  }));
  const outcome = source === null ? null : outcomeOf(options, source);
  const together = layers.groups;
  return { policy: name, means: POLICIES[name], layout: format.id, rules, together, outcome };
}

function outcomeOf(options: ConvertOptions, source: Source): NonNullable<PolicyView["outcome"]> {
  const rows = new Map<string, NonNullable<PolicyView["outcome"]>[number]>();
  for (const { name, action, why, source: tensor } of makePlan(source, options).files.flatMap(
    (file) => file.tensors,
  )) {
    const key = `${action} ${why}`;
    const row = rows.get(key) ?? { action, why, tensors: 0, bytes: 0, first: name };
    row.tensors++;
    row.bytes += tensor.end - tensor.begin;
    rows.set(key, row);
  }
  return [...rows.values()].sort((a, b) => b.bytes - a.bytes);
}
