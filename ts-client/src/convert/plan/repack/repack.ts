/** Plans another layout of the same codes and scales. */
import { z } from "zod";
import { OpswapError } from "../../../types/errors.js";
import type { Calibration } from "../../awq/calibration.js";
import { convertError } from "../../errors.js";
import type { Encoding, Format } from "../../formats/types.js";
import { keepUnfitGroups } from "../../policy/fused-groups.js";
import { decide, policyRules } from "../../policy/policy.js";
import type { Group, Layers } from "../../readers/layers.js";
import { layersFor } from "../../readers/layers.js";
import { isHeadTied, moduleOf } from "../../source/layer-names.js";
import type { NewTensor } from "../../source/safetensors/layout.js";
import type { Located } from "../../source/source.js";
import { allTensors, type Source } from "../../source/source.js";
import { parseJson } from "../../text/python-json.js";
import type { PlannedFile } from "../types.js";
import { type Moves, planMoves, type Recode } from "./files.js";
import { checkMeaning, refuseUnknownCodes } from "./stored-config.js";
import { type StoredLayer, storedLayers } from "./stored-layers.js";

/** Static scales that a dialect has no place for; they find their way back from here. */
export const INPUT_SCALES = "input_scales.json";

const inputScales = z.record(z.string(), z.number().positive());

export interface Repacked {
  source: Source;
  files: PlannedFile[];
  kept: string[];
  quantized: string[];
  tiedHead: boolean;
  matrices: { name: string; shape: readonly number[] }[];
  /** JSON beside the weights for what the output's tensors do not hold. */
  others: Record<string, unknown>;
  /** Static input scales that decide bytes. */
  inputs: Record<string, number>;
}

/** Plans another dialect of the same codes and scales; refuses where a number would change. */
export function repack(source: Source, format: Format, calibration: Calibration | null): Repacked {
  checkMeaning(source);
  const tensors = allTensors(source);
  const layers = storedLayers(tensors);
  const taken = layers.flatMap(({ codes, scale, beside }) => [codes, scale, ...beside]);
  refuseUnknownCodes(tensors, new Set(taken.map(({ tensor }) => tensor.name)));
  if (layers.length === 0)
    throw convertError(
      "OPSWAP_E_CANNOT_CONVERT",
      `nothing in ${source.folder} is quantised`,
      "`opswap convert` quantises",
    );
  const built = layersFor(source, null);
  checkGroups(tensors, layers, built.groups, format);
  const inputs = knownInputs(source, layers, format, calibration);
  const moves: Moves = new Map();
  for (const layer of layers) moveLayer(layer, format, inputs.get(layer.weight.name) ?? 0, moves);
  const held = new Set(layers.flatMap(({ weight }) => (format.staticInputs?.(weight) ? [weight.name] : [])));
  const left = [...inputs].filter(([name]) => !held.has(name));
  return {
    source: { ...source, fp8: true },
    files: source.files.map((file) => planMoves(file, format, moves)),
    kept: keptModules(tensors, moves, built),
    tiedHead: isHeadTied(tensors.map(({ tensor }) => tensor.name)),
    quantized: layers.map(({ weight }) => moduleOf(weight)).sort(),
    matrices: layers.map(({ weight: { name, shape } }) => ({ name, shape })),
    others: left.length === 0 ? {} : { [INPUT_SCALES]: Object.fromEntries(left) },
    inputs: Object.fromEntries(inputs),
  };
}

/** Whether it can be planned, as far as headers tell. */
export function repacks(source: Source, format: Format): boolean {
  try {
    repack(source, format, null);
    return true;
  } catch (error) {
    if (error instanceof OpswapError) return false;
    throw error;
  }
}

/** What convert would not have written, engines would load wrongly in another dialect too. */
function checkGroups(
  tensors: readonly Located[],
  layers: readonly StoredLayer[],
  groups: readonly Group[],
  format: Format,
): void {
  const weights = new Map(layers.map(({ codes, weight }) => [codes.tensor.name, weight]));
  const decided = tensors.map(({ tensor }) => {
    const weight = weights.get(tensor.name);
    return {
      tensor: weight ?? tensor,
      decision: { quantize: weight !== undefined, why: "not quantised", layer: true },
    };
  });
  const before = new Set(decided.filter(({ decision }) => decision.quantize));
  keepUnfitGroups(decided, groups, format.obstacle);
  const unfit = [...before].find(({ decision }) => !decision.quantize);
  if (unfit === undefined) return;
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `${unfit.tensor.name} cannot be ${format.id}: ${unfit.decision.why}`,
    "convert the checkpoint that this was made from: `opswap convert plan` keeps such groups in BF16",
  );
}

/** Input scales by weight: those of the source, or else the given ones; refuses where the format lacks one. */
function knownInputs(
  source: Source,
  layers: readonly StoredLayer[],
  format: Format,
  calibration: Calibration | null,
): Map<string, number> {
  const told = toldInputs(source);
  const known = new Map<string, number>();
  const missing: string[] = [];
  for (const { weight, inputScale } of layers) {
    const own = inputScale ?? told[weight.name];
    const needed = format.staticInputs?.(weight) === true;
    const scale = own ?? (needed ? calibration?.inputScale(weight) : null) ?? 0;
    if (scale > 0) known.set(weight.name, scale);
    else if (needed) missing.push(weight.name);
    if (own !== undefined && calibration !== null)
      throw convertError(
        "OPSWAP_E_CALIBRATION",
        `${source.folder} has the static input scale of ${weight.name} already`,
        "leave --calibration out: repack keeps the scales that there are",
      );
  }
  checkNoneMissing(missing, format, calibration);
  return new Map([...known].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function checkNoneMissing([first, ...more]: string[], format: Format, calibration: Calibration | null): void {
  if (first === undefined) return;
  const whose = calibration ? "--calibration has not" : "the source has not";
  throw convertError(
    "OPSWAP_E_CALIBRATION",
    `${format.id} needs the static input scale of ${more.length + 1} layers that ${whose}, the first is ${first}`,
    `give --calibration a file with ${first}.absmax, or with its input_scale as another tool measured it`,
  );
}

function toldInputs({ ofLayout }: Source): Readonly<Record<string, number>> {
  const file = ofLayout.find(({ name }) => name === INPUT_SCALES);
  if (file === undefined) return {};
  const parsed = inputScales.safeParse(parseJson(file.path));
  if (parsed.success) return parsed.data;
  throw convertError(
    "OPSWAP_E_SOURCE",
    `${file.path} is no list of positive scales by the names of weights`,
    "remove it, and give the scales with --calibration",
  );
}

function moveLayer(layer: StoredLayer, format: Format, inputScale: number, moves: Moves): void {
  const { weight, codes, scale, beside } = layer;
  const target = format.encode(weight, { scales: "amax", inputScale: () => inputScale });
  const code = codeFrom(layer, target, format);
  if (target.scale === null) throw new Error(`${target.action} has codes without scales`);
  const own = { weight: weight.name, rank: 0, constants: target.constants ?? [] };
  moves.set(codes.tensor.name, { ...own, code, data: target.data });
  const cast = castOf(scale, target.scale);
  moves.set(scale.tensor.name, { ...own, rank: 1, constants: [], code: cast, data: target.scale });
  for (const { tensor } of beside) moves.set(tensor.name, null);
}

function codeFrom({ weight, scheme: from, action }: StoredLayer, target: Encoding, format: Format): Recode {
  const to = target.scheme;
  if ("blockRows" in to && from.blockRows === to.blockRows && from.blockColumns === to.blockColumns) {
    if (from.code === to.code) return "copy";
    if (from.code !== "e4m3" && to.code !== "e4m3") return "flip";
  }
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `${weight.name} is ${action}, and ${format.id} has ${target.action} there: that would quantise again`,
    "convert the checkpoint that this was made from",
  );
}

/** Between types of scales, of which convert writes bfloat16 numbers into either. */
function castOf({ tensor }: Located, { dtype, shape }: NewTensor): Recode {
  const [wide = 0, wanted = 0] = [tensor.shape[1], shape[1]];
  if (tensor.dtype === dtype && wide !== wanted) return wide < wanted ? "pad" : "unpad";
  if (tensor.dtype === dtype) return "copy";
  return dtype === "F32" ? "widen" : "narrow";
}

/** As convert lists them: layers that a policy would have taken, and those that loaders ask about. */
function keptModules(tensors: readonly Located[], moves: Moves, layers: Layers): string[] {
  const policy = policyRules({ name: "linear", keep: [], quantize: [], layers });
  const kept = tensors.filter(({ tensor }) => {
    const { quantize, layer } = decide(tensor, policy);
    return !moves.has(tensor.name) && (quantize || layer);
  });
  return [...new Set(kept.map(({ tensor }) => moduleOf(tensor)))].sort();
}
