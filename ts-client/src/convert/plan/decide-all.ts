/** Decides what becomes of each tensor of a source. */
import { bf16, type Format } from "../formats/index.js";
import type { ConvertOptions } from "../options/options.js";
import type { Decided, Decision } from "../policy/decision.js";
import { keepUnfitGroups } from "../policy/fused-groups.js";
import { decide, decideRounding, policyRules, withLayers } from "../policy/policy.js";
import { rankObstacle } from "../ranks/check.js";
import type { RankSplit } from "../ranks/rank-split.js";
import type { Layers } from "../readers/layers.js";
import { allTensors, type Source, type SourceTensor } from "../source/source.js";

/** What becomes of each tensor: by the policy, by what the source is, and by what the layout can have. */
export function decideAll(
  source: Source,
  options: ConvertOptions,
  format: Format,
  layers: Layers,
  split: RankSplit | null,
): Decided[] {
  const tensors = allTensors(source);
  const names = tensors.map(({ tensor }) => tensor.name);
  const [keep, quantize] = [withLayers(options.keep, names), withLayers(options.quantize, names)];
  const policy = { name: options.policy, keep, quantize, layers };
  const rules = policyRules(policy);
  const one = (tensor: SourceTensor) =>
    format === bf16 ? decideRounding(tensor, policy) : decide(tensor, rules);
  const decided = tensors.map((located) => ({
    ...located,
    decision: asInSource(source, located.tensor, one(located.tensor)),
  }));
  if (format !== bf16)
    keepUnfitGroups(
      decided,
      layers.groups,
      split ? rankObstacle(format, split.model, split.ranks) : format.obstacle,
    );
  return decided;
}

/** A source that is in FP8 has left out what should not be. */
function asInSource(source: Source, tensor: SourceTensor, decision: Decision): Decision {
  if (tensor.scaleOf !== undefined)
    return { quantize: false, why: `scale of ${tensor.scaleOf}`, layer: false };
  const left = source.fp8 && tensor.stored === undefined && /^(linear layer|expert)$/.test(decision.why);
  return left ? { quantize: false, why: "not quantised in the source", layer: true } : decision;
}
