/** Which tensors are quantised: the rules of a policy, in the order in which they are asked. */
import { convertError } from "../errors.js";
import type { PolicyName } from "../options/choices.js";
import type { Layers } from "../readers/layers.js";
import { isStacked } from "../source/layer-names.js";
import type { SourceTensor } from "../source/source.js";
import type { Decision } from "./decision.js";

/** Which tensors the user wants kept or quantised beyond the policy's own choice; `*` stands for anything. */
export interface PolicyOptions {
  name: PolicyName;
  keep: readonly string[];
  quantize: readonly string[];
  /** What engines build of the model. */
  layers: Layers;
}

/** A step of a policy; the first that applies to a tensor decides. */
export interface PolicyRule {
  /** What it applies to, for people. */
  tensors: string;
  applies(tensor: SourceTensor): boolean;
  decision: Decision;
  /** The reason in more detail. */
  why?(tensor: SourceTensor): string;
}

interface KeepRule {
  pattern: RegExp;
  why: string;
  layer: boolean;
}

/** What is no linear layer of the language model, by the words of its name. */
const KEPT: readonly KeepRule[] = [
  {
    pattern:
      /(^|\.)(wte|wpe|shared\.weight$|\w*(?<!un)embed(ding)?s?(_\w+)?(\.|$)|\w*relative_attention_bias\.)/,
    why: "embedding",
    layer: false,
  },
  { pattern: /(^|\.)(\w*_head|head|embed_out|output|unembed\w*)\.weight$/, why: "output head", layer: true },
  { pattern: /(^|[._])(\w*norm\w*|ln_?\w+)\.weight$/, why: "norm", layer: false },
  {
    pattern: /(^|\.)(\w*router|gate|shared_expert_gate|gate_network)(\.\w+)?\.weight$/,
    why: "router",
    layer: true,
  },
  { pattern: /(^|\.)(score|classifier|cls|pooler)(\.|$)/, why: "head", layer: true },
  {
    pattern: /(^|\.)(eh_proj|mtp\.fc|mtp_linear_proj|hidden_projection)\./,
    why: "projection of an MTP layer",
    layer: true,
  },
  { pattern: /(^|\.)indexer\.weights_proj\./, why: "indexer's weights", layer: true },
  {
    pattern:
      /(^|\.)(visual|vision\w*|vit|audio\w*|speech\w*|\w*(image|video|sound)\w*|\w*tower\w*|\w*projector\w*|mm_\w+|connector|resampler|merger|aligner|patch_\w+)\./,
    why: "vision or audio",
    layer: true,
  },
  { pattern: /(^|\.)conv\w*\./, why: "convolution", layer: false },
];

/** Element types that can be quantised as they are. */
const FLOATS = new Set(["BF16", "F16", "F32"]);
export const isFloat = (tensor: SourceTensor) => FLOATS.has(tensor.dtype) || tensor.stored !== undefined;
/** Parameters that models keep in float32 whatever the rest is in: a few numbers that decide between experts. */
const PRECISE = /(^|\.)e_score_correction_bias$/;
const EXPERT = /(^|\.)experts\.\d+\./;

const keep = (why: string, layer = false): Decision => ({ quantize: false, why, layer });

/** For a layout that quantises nothing: what is rounded to BF16. */
export function decideRounding(tensor: SourceTensor, options: PolicyOptions): Decision {
  const { name, dtype, stored } = tensor;
  const round = (why: string): Decision => ({ quantize: true, why, layer: false });
  if (stored !== undefined) return round(`stored as ${dtype}`);
  if (dtype === "BF16") return keep("BF16 already");
  if (!FLOATS.has(dtype) && dtype !== "F64") return keep(`${dtype} is not rounded`);
  const kept = options.keep.find((pattern) => glob(pattern).test(name));
  if (kept !== undefined) return keep(`asked for: --keep ${kept}`);
  return PRECISE.test(name) ? keep("models keep it in float32") : round(`${dtype} is rounded`);
}

const named = (tensors: string, pattern: RegExp, decision: Decision): PolicyRule => ({
  tensors,
  applies: ({ name }) => pattern.test(name),
  decision,
});

/** What no policy quantises: scales would not be found, or there is nothing to quantise. */
const UNFIT: readonly PolicyRule[] = [
  {
    tensors: "experts stacked in one tensor",
    applies: ({ name, shape }) => isStacked(name, shape),
    decision: keep("stacked experts", true),
  },
  {
    tensors: "tensors of one dimension, or of three and more",
    applies: ({ shape }) => shape.length !== 2,
    decision: keep("not a matrix"),
    why: ({ shape: { length } }) => `${length === 1 ? "a vector" : `${length} dimensions`}, not a matrix`,
  },
  {
    tensors: "matrices whose names do not end in .weight",
    applies: ({ name }) => !name.endsWith(".weight"),
    decision: keep("not named .weight, where scales would be looked for"),
  },
  {
    tensors: `matrices that are not ${[...FLOATS].join(", ")} or stored with scales`,
    applies: (tensor) => !isFloat(tensor),
    decision: keep("not quantised"),
    why: ({ dtype }) => `${dtype} is not quantised`,
  },
  { tensors: "empty matrices", applies: ({ shape }) => shape.includes(0), decision: keep("empty") },
];

/** The steps of a policy in their order; the last applies to everything. */
export function policyRules({ name, keep: kept, quantize, layers }: PolicyOptions): PolicyRule[] {
  const asked = (option: string, pattern: string, decision: boolean) =>
    named(pattern, glob(pattern), {
      quantize: decision,
      why: `asked for: ${option} ${pattern}`,
      layer: true,
    });
  return [
    ...UNFIT,
    ...kept.map((pattern) => asked("--keep", pattern, false)),
    ...quantize.map((pattern) => asked("--quantize", pattern, true)),
    ...KEPT.map(({ pattern, why, layer }) => named(String(pattern), pattern, keep(why, layer))),
    {
      tensors: "matrices that engines build in their own precision",
      applies: ({ name }) => layers.plain(name) !== undefined,
      decision: keep("engines build it unquantised", true),
      why: ({ name }) => layers.plain(name) ?? "",
    },
    named(String(EXPERT), EXPERT, { quantize: true, why: "expert", layer: true }),
    name === "experts"
      ? named("every other matrix", /^/, keep("not an expert", true))
      : named("every other matrix", /^/, { quantize: true, why: "linear layer", layer: true }),
  ];
}

/** What a policy's rules make of a tensor. */
export function decide(tensor: SourceTensor, rules: readonly PolicyRule[]): Decision {
  const rule = rules.find((one) => one.applies(tensor));
  if (rule === undefined) throw new Error(`no rule of the policy applies to ${tensor.name}`);
  return rule.why === undefined ? rule.decision : { ...rule.decision, why: rule.why(tensor) };
}

const LAYER = /(?:^|\.)(?:layers|h|blocks|block)\.(\d+)\./;

/** Patterns with the numbers of a model's first and last layers in place of {first} and {last}. */
export function withLayers(patterns: readonly string[], names: readonly string[]): string[] {
  if (!patterns.some((pattern) => /\{(first|last)\}/.test(pattern))) return [...patterns];
  const numbers = names.flatMap((name) => LAYER.exec(name)?.[1] ?? []).map(Number);
  const [first, last] = numbers.reduce(([a, b], one) => [Math.min(a, one), Math.max(b, one)], [Infinity, -1]);
  if (last < 0)
    throw convertError(
      "OPSWAP_E_CANNOT_CONVERT",
      "{first} and {last}: no tensor is named like layers.0.",
      "name the tensors themselves",
    );
  return patterns.map((one) => one.replaceAll("{first}", `${first}`).replaceAll("{last}", `${last}`));
}

/** A name pattern in which `*` is any run of characters. */
export function glob(pattern: string): RegExp {
  const literal = pattern.replace(/[.+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${literal.replaceAll("*", ".*")}$`);
}
