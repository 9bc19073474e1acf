/** Makes a plan from an opened source and the options. */
import { createHash } from "node:crypto";
import type { Nonfinite } from "../../types/convert-job.js";
import { Calibration } from "../awq/calibration.js";
import { planFolds } from "../awq/folds.js";
import type { Folding } from "../awq/types.js";
import { convertError } from "../errors.js";
import { bf16, FORMATS, type Format, formatNamed } from "../formats/index.js";
import type { EncodeOptions, Modules } from "../formats/types.js";
import type { ScaleRule } from "../options/choices.js";
import type { ConvertOptions } from "../options/options.js";
import type { Decided } from "../policy/decision.js";
import { rankSplitFor } from "../ranks/rank-split.js";
import { architecturesOf, layersFor } from "../readers/layers.js";
import type { OutputFacts } from "../readers/types.js";
import { checkReader } from "../readers/verdicts.js";
import { withScales } from "../source/dialects/fp8.js";
import { interpretCodes } from "../source/dialects/interpret-codes.js";
import { withSingleExperts } from "../source/single-experts.js";
import type { Source } from "../source/source.js";
import { sum } from "../sum.js";
import { outputConfig } from "./config.js";
import { decideAll } from "./decide-all.js";
import { planFiles } from "./lay-out-files.js";
import { modulesOf } from "./modules.js";
import { bytesOfIndex } from "./output-index.js";
import { planRanks } from "./rank-files.js";
import { repack, repacks } from "./repack/repack.js";
import { checkNotPacked } from "./repack/stored-layers.js";
import type { Plan, PlannedFile } from "./types.js";

/** Decides everything before the first byte is written; reads no weight. */
export function makePlan(opened: Source, given: ConvertOptions): Plan {
  const format = formatNamed(given.to);
  if (given.repack) return repackPlan(withScales(opened), given, format);
  checkNotPacked(opened, format, () => repacks(withScales(opened), format));
  const read = interpretCodes(opened);
  const source = format === bf16 ? read : withSingleExperts(read);
  const options = { ...given, scales: scaleRule(format, given.scales) };
  checkNan(format, options.nonfinite);
  const split = rankSplitFor(source, options, format);
  const layers = layersFor(source, options.for);
  const decided = decideAll(source, options, format, layers, split);
  const modules = modulesOf(decided);
  if (format !== bf16 && decided.every(({ decision }) => !decision.quantize))
    throw convertError(
      "OPSWAP_E_CANNOT_CONVERT",
      `nothing in ${source.folder} is quantised`,
      nothingRemedy(decided),
    );
  const calibration = given.calibration === null ? null : Calibration.open(given.calibration, layers.groups);
  const inputScale = inputScales(format, decided, calibration);
  const byName = new Map(decided.map((one) => [one.tensor.name, one]));
  const scaling = { scales: options.scales, inputScale };
  const folding = options.awq ? foldingOf(source, decided, format, calibration, scaling) : null;
  const encode = { ...scaling, folds: folding?.byTensor ?? new Map(), groups: layers.groups };
  const files = split
    ? planRanks(source.files, byName, { ...split, format, encode })
    : planFiles(source.files, byName, format, encode);
  const matrices = format === bf16 ? [] : decided.filter(({ decision }) => decision.quantize);
  const made = { files, ...modules, matrices: matrices.map(({ tensor }) => tensor) };
  return completePlan(source, options, format, { ...made, folding }, calibration);
}

function repackPlan(source: Source, options: ConvertOptions, format: Format): Plan {
  if (options.tensorParallel !== null)
    throw convertError(
      "OPSWAP_E_CANNOT_CONVERT",
      "files for ranks: repack does not cut tensors",
      "convert the checkpoint that this was made from with --tensor-parallel",
    );
  if (options.nonfinite === "zero")
    throw convertError(
      "OPSWAP_E_CANNOT_CONVERT",
      "--nonfinite zero: repack changes no number",
      "say --nonfinite keep, or mend the source",
    );
  const { groups } = layersFor(source, options.for);
  const calibration = options.calibration === null ? null : Calibration.open(options.calibration, groups);
  const { source: plain, others, inputs, ...made } = repack(source, format, calibration);
  return completePlan(plain, options, format, { ...made, folding: null }, calibration, { others, inputs });
}

type PlannedOutput = Modules & Pick<Plan, "matrices" | "folding"> & { files: PlannedFile[] };
/** What only repack has: files beside the weights, and numbers from the source's data. */
interface RepackExtras {
  others: Record<string, unknown>;
  inputs: Record<string, number>;
}

function completePlan(
  source: Source,
  options: ConvertOptions,
  format: Format,
  { files, ...made }: PlannedOutput,
  calibration: Calibration | null,
  extras?: RepackExtras,
): Plan {
  const loader = format.files(made);
  const { config } = loader;
  const indexed = source.indexed && options.tensorParallel === null; // ranks have tensors of the same names
  const others = { ...loader.others, ...extras?.others };
  const extra = Object.entries(others).map(([name, value]) => ({
    name,
    text: `${JSON.stringify(value, null, 2)}\n`,
  }));
  const plan = {
    options,
    format,
    source,
    files,
    ...made,
    calibration,
    config: source.config === null ? null : outputConfig(source, format, config),
    indexed,
    extra,
    side: source.side.filter(({ name }) => !Object.hasOwn(others, name)),
    sourceBytes: sum(
      [...new Map(source.files.map((file) => [file.path, file])).values()],
      (file) => file.bytes,
    ),
  };
  checkReader(options.for, factsOf(plan));
  const index = indexed ? bytesOfIndex(files) : 0;
  const texts = [plan.config ?? "", ...extra.map(({ text }) => text)];
  const small = index + sum(texts, (text) => Buffer.byteLength(text)) + sum(plan.side, (file) => file.bytes);
  const outputBytes = sum(files, (file) => file.layout.bytes) + small;
  const fingerprint = fingerprintOf(source, options, format, calibration, extras?.inputs);
  return { ...plan, outputBytes, fingerprint };
}

/** What readers' rules look at. */
export function factsOf({
  format,
  source,
  kept,
  quantized,
  tiedHead,
  matrices,
}: Omit<Plan, "fingerprint" | "outputBytes">): OutputFacts {
  const architectures = architecturesOf(source.config);
  return { layout: format.id, architectures, kept, quantized, tiedHead, matrices };
}

function foldingOf(
  source: Source,
  decided: readonly Decided[],
  format: Format,
  calibration: Calibration | null,
  encode: EncodeOptions,
): Folding {
  if (format.awq !== true)
    throw convertError(
      "OPSWAP_E_CANNOT_CONVERT",
      `--awq: ${format.id} has no INT4 layers whose inputs are scaled while they run`,
      `leave --awq out, or write ${FORMATS.filter(({ awq }) => awq)
        .map(({ id }) => id)
        .join(" or ")}`,
    );
  const first = decided.find(({ decision }) => decision.quantize);
  const scheme = first && format.encode(first.tensor, encode).scheme;
  if (calibration !== null && scheme !== undefined && "blockRows" in scheme)
    return planFolds(source, decided, calibration, scheme);
  throw convertError(
    "OPSWAP_E_CALIBRATION",
    "--awq needs statistics of the layers' inputs, and there is no --calibration",
    "collect them with `python -m opswap.adapters.vllm.calibration`, and give the file with --calibration",
  );
}

function scaleRule(format: Format, asked: ScaleRule | null): ScaleRule {
  const rule = asked ?? format.scales[0] ?? "amax";
  if (format.scales.includes(rule)) return rule;
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `--scales ${rule}: ${format.id} knows ${format.scales.join(" and ")}`,
    "leave --scales out",
  );
}

function checkNan(format: Format, nonfinite: Nonfinite): void {
  if (format.nan || nonfinite !== "keep") return;
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `--nonfinite keep: ${format.id} has no code for NaN`,
    "say --nonfinite zero, or mend the source",
  );
}

/** Static scales of inputs; refuses at once, for all layers, when the layout needs some that nobody measured. */
function inputScales(format: Format, decided: readonly Decided[], calibration: Calibration | null) {
  const needed = decided.filter(({ tensor, decision }) => decision.quantize && format.staticInputs?.(tensor));
  const scales = new Map(needed.map(({ tensor }) => [tensor.name, calibration?.inputScale(tensor) ?? 0]));
  const missing = [...scales].filter(([, scale]) => scale <= 0).map(([name]) => name);
  if (missing.length > 0)
    throw convertError(
      "OPSWAP_E_CALIBRATION",
      `${format.id} needs the static input scale of ${missing.length} layers that ${calibration ? "--calibration has not" : "nobody gave"}, the first is ${missing[0]}`,
      `give --calibration a file with ${missing[0]}.absmax, or with its input_scale as another tool measured it`,
    );
  return ({ name }: { name: string }) => scales.get(name) ?? 0;
}

function nothingRemedy(decided: readonly Decided[]): string {
  const reasons = [...new Set(decided.map(({ decision }) => decision.why))].slice(0, 4);
  return `its tensors are kept: ${reasons.join("; ")}; \`opswap convert plan\` shows each, --quantize overrides`;
}

function fingerprintOf(
  source: Source,
  given: ConvertOptions,
  format: Format,
  calibration: Calibration | null,
  inputs?: Record<string, number>,
): string {
  const files = source.files.map(({ name, bytes, header }) => [name, bytes, header.sha256]);
  const side = source.side.map(({ name, bytes }) => [name, bytes]);
  const options = { ...given, calibration: calibration?.sha256 ?? null };
  const facts = JSON.stringify([options, format.id, format.version, files, side, source.config, inputs]);
  return createHash("sha256").update(facts).digest("hex");
}
