/** Looks in a checkpoint for codes without scales, scales without codes, and layers that config.json names wrongly. */
import { decide, isFloat, policyRules } from "../policy/policy.js";
import type { Layers } from "../readers/layers.js";
import { sglang } from "../readers/sglang.js";
import { transformers } from "../readers/transformers.js";
import { vllm } from "../readers/vllm.js";
import { isStacked } from "../source/layer-names.js";
import type { Located } from "../source/source.js";
import type { DeclaredQuantization } from "./declared-quantization.js";

/** What is wrong in a checkpoint, whoever reads it. */
export interface Finding {
  kind: "no scales" | "no codes" | "not named" | "named, and quantised";
  tensors: readonly string[];
  problem: string;
  remedy: string;
}

const seen = [vllm, sglang, transformers].map(({ name, version }) => `${name} ${version}`).join(", ");
const SILENT = `${seen} raise nothing, and compute with whatever stands in their place`;
const CODES = /^F8_E[45]M[23]/;
const PACKED = /(\.weight|\.weight_packed|\.qweight|\.experts\.\w+)$/;
const SCALE = /(_scale(_inv)?|_scales?|\.scales)$/;

/** Whether a tensor is codes of weights: FP8 whatever its name, or packed integers where weights are. */
function isCodes({ name, dtype, shape }: Located["tensor"]): boolean {
  if (shape.length < 2) return false;
  return CODES.test(dtype) || (/^(I8|U8|I32)$/.test(dtype) && PACKED.test(name));
}

/** Names under which readers look for the scales of codes. */
function scaleNames(name: string): string[] {
  const base = name.replace(/_packed$/, "");
  const awq = name.replace(/\.qweight$/, ".scales");
  return [
    `${base}_scale_inv`,
    `${base}_scale`,
    name.replace(/_blocks$/, "_scales"),
    ...(awq === name ? [] : [awq]),
  ];
}

export function findingsOf(
  tensors: readonly Located[],
  declared: DeclaredQuantization,
  layers: Layers,
): Finding[] {
  const codes = tensors.filter(({ tensor }) => isCodes(tensor)).map(({ tensor }) => tensor.name);
  return [
    ...withoutScales(tensors, codes),
    ...withoutCodes(tensors, codes),
    ...unnamed(tensors, declared, layers),
    ...named(codes, declared),
  ].filter((one) => one.tensors.length > 0);
}

function withoutScales(tensors: readonly Located[], codes: readonly string[]): Finding[] {
  const there = new Set(tensors.map(({ tensor }) => tensor.name));
  const found = codes.filter((name) => !scaleNames(name).some((one) => there.has(one) && one !== name));
  const problem = `codes without scales: ${SILENT}`;
  return [
    {
      kind: "no scales",
      tensors: found,
      problem,
      remedy: "fetch or write the scales; no reader can do without them",
    },
  ];
}

function withoutCodes(tensors: readonly Located[], codes: readonly string[]): Finding[] {
  const wanted = new Set(codes.flatMap(scaleNames));
  const found = tensors
    .map(({ tensor }) => tensor.name)
    .filter((name) => isWeightScale(name) && !wanted.has(name));
  const remedy =
    "convert the checkpoint that this was made from: the codes are lost, or are not codes any more";
  return [{ kind: "no codes", tensors: found, problem: "scales whose codes are not there", remedy }];
}

const isWeightScale = (name: string) =>
  SCALE.test(name) &&
  !/(^|[._])(input|activation|act|output|prob|softmax|[qkv]|kv|qkv|logit|router|layer|per_expert)_scale/.test(
    name,
  );

/** Plain matrices that readers build quantised unless they are named. */
function unnamed(tensors: readonly Located[], declared: DeclaredQuantization, layers: Layers): Finding[] {
  if (declared.layout === "bf16" || declared.kept === null) return [];
  const rules = policyRules({ name: "linear", keep: [], quantize: [], layers });
  const isNamed = namesOf(declared.kept);
  const found = tensors.filter(({ tensor }) => {
    const plain = isFloat(tensor) && (isStacked(tensor.name, tensor.shape) || decide(tensor, rules).quantize);
    return plain && !isNamed(tensor.name);
  });
  const problem =
    "in their own precision, and config.json does not name them: readers build them quantised, and find no scales";
  const remedy =
    "name them in config.json: modules_to_not_convert, ignored_layers or ignore, as its quant_method has it";
  return [{ kind: "not named", tensors: found.map(({ tensor }) => tensor.name), problem, remedy }];
}

function named(codes: readonly string[], { kept }: DeclaredQuantization): Finding[] {
  const found = codes.filter(namesOf(kept ?? []));
  const problem = "codes that config.json names as not quantised: readers take them for weights";
  return [
    { kind: "named, and quantised", tensors: found, problem, remedy: "take them out of config.json's list" },
  ];
}

/** Whether a list names a tensor's module: whole, by what holds it or its last parts, or by a pattern. */
function namesOf(kept: readonly string[]): (tensor: string) => boolean {
  const plain = kept.filter((one) => !one.startsWith("re:"));
  const patterns = kept.flatMap((one) => (one.startsWith("re:") ? (patternOf(one.slice(3)) ?? []) : []));
  return (tensor) => {
    const module = tensor.replace(/\.(weight|weight_packed|qweight)$/, "");
    const named = plain.some(
      (one) => module === one || module.startsWith(`${one}.`) || module.endsWith(`.${one}`),
    );
    return named || patterns.some((one) => one.test(module));
  };
}

/** Python's patterns, of which JavaScript has not all: one that it cannot read names nothing. */
function patternOf(text: string): RegExp | undefined {
  try {
    return new RegExp(`^(?:${text})`);
  } catch {
    return undefined;
  }
}
