import { createHash } from "node:crypto";
import { outputConfig } from "./config.js";
import { convertError } from "./errors.js";
import { bf16, type Format, formatNamed, type Scheme } from "./formats/index.js";
import { keepRaggedGroups } from "./fused.js";
import { type Decision, decide, decideRounding, type PolicyName } from "./policy.js";
import { type FileLayout, layoutFile, type Placed } from "./safetensors/layout.js";
import type { SideFile, Source, SourceFile, SourceTensor } from "./source.js";

export type Nonfinite = "refuse" | "keep" | "zero";

/** What decides the bytes of an output. */
export interface ConvertOptions {
  to: string;
  nonfinite: Nonfinite;
  policy: PolicyName;
  keep: readonly string[];
  quantize: readonly string[];
}

export const DEFAULTS: ConvertOptions = {
  to: "fp8_block128",
  nonfinite: "refuse",
  policy: "linear",
  keep: [],
  quantize: [],
};

export interface PlannedTensor {
  name: string;
  source: SourceTensor;
  scheme: Scheme;
  why: string;
  data: Placed;
  scale: Placed | null;
}

export interface PlannedFile {
  name: string;
  source: SourceFile;
  layout: FileLayout;
  /** In the source's order, which is the order of work. */
  tensors: readonly PlannedTensor[];
}

export interface Plan {
  options: ConvertOptions;
  format: Format;
  source: Source;
  files: readonly PlannedFile[];
  /** Modules with a matrix that stays in its own precision. */
  kept: readonly string[];
  config: string | null;
  index: string | null;
  side: readonly SideFile[];
  sourceBytes: number;
  /** Of everything in the output but the report. */
  outputBytes: number;
  /** Names the same conversion of the same source. */
  fingerprint: string;
}

/** Decides everything before the first byte is written; reads no weight. */
export function makePlan(source: Source, options: ConvertOptions): Plan {
  const format = formatNamed(options.to);
  const decided = decideAll(source, options, format);
  const files = source.files.map((file) => planFile(file, decided, format));
  const kept = keptModules(decided);
  if (format !== bf16 && decided.every(({ decision }) => !decision.quantize))
    throw convertError(
      "OPSWAP_E_UNSUPPORTED",
      `nothing in ${source.folder} is quantised`,
      nothingRemedy(decided),
    );
  const plan = {
    options,
    format,
    source,
    files,
    kept,
    config: source.config === null ? null : outputConfig(source, format, kept),
    index: source.indexed ? indexText(files) : null,
    side: source.side,
    sourceBytes: sum(
      [...new Map(source.files.map((file) => [file.path, file])).values()],
      (file) => file.bytes,
    ),
  };
  const text = Buffer.byteLength((plan.config ?? "") + (plan.index ?? ""));
  const outputBytes = sum(files, (file) => file.layout.bytes) + sum(source.side, (file) => file.bytes) + text;
  return { ...plan, outputBytes, fingerprint: fingerprintOf(source, options, format) };
}

export interface Decided {
  tensor: SourceTensor;
  decision: Decision;
}

function decideAll(source: Source, options: ConvertOptions, format: Format): Decided[] {
  const policy = { name: options.policy, keep: options.keep, quantize: options.quantize };
  const one = format === bf16 ? decideRounding : decide;
  const decided = source.files.flatMap((file) =>
    file.header.tensors.map((tensor) => ({
      tensor,
      decision: asInSource(source, tensor, one(tensor, policy)),
    })),
  );
  if (format !== bf16) keepRaggedGroups(decided);
  return decided;
}

/** A source that is in FP8 has left out what should not be. */
function asInSource(source: Source, tensor: SourceTensor, decision: Decision): Decision {
  if (tensor.scaleOf !== undefined)
    return { quantize: false, why: `scale of ${tensor.scaleOf}`, layer: false };
  const left = source.fp8 && tensor.stored === undefined && /^(linear layer|expert)$/.test(decision.why);
  return left ? { quantize: false, why: "not quantised in the source", layer: true } : decision;
}

/** Whether a tensor's codes are those of the layout, so that its scales stay as well. */
const isThere = (tensor: SourceTensor, decision: Decision, format: Format) =>
  decision.quantize && tensor.stored?.scales !== undefined && format.holds?.(tensor.stored.scales) === true;

/** How a tensor is encoded: what is kept is copied, and written as BF16 where its bytes are no plain elements. */
function encodingOf(tensor: SourceTensor, decision: Decision, format: Format) {
  const writer = decision.quantize ? format : tensor.stored === undefined ? null : bf16;
  if (isThere(tensor, decision, format)) return { scheme: "copy" as const, data: tensor, scale: null };
  if (writer === null) return { scheme: "copy" as const, data: tensor, scale: null };
  return { scheme: writer.scheme, ...writer.outputs(tensor) };
}

function nothingRemedy(decided: readonly Decided[]): string {
  const reasons = [...new Set(decided.map(({ decision }) => decision.why))].slice(0, 4);
  return `its tensors are kept: ${reasons.join("; ")}; \`opswap convert plan\` shows each, --quantize overrides`;
}

function planFile(file: SourceFile, decided: readonly Decided[], format: Format): PlannedFile {
  const decisions = new Map(decided.map(({ tensor, decision }) => [tensor, decision]));
  const there = decided.filter(({ tensor, decision }) => isThere(tensor, decision, format));
  const withCodes = new Set(there.map(({ tensor }) => `${tensor.stored?.scales?.tensor.name}`));
  const written = ({ name, scaleOf }: SourceTensor) => scaleOf === undefined || withCodes.has(name);
  const outputs = file.header.tensors.filter(written).map((tensor) => {
    const decision = decisions.get(tensor) ?? { quantize: false, why: "", layer: false };
    return { tensor, decision, ...encodingOf(tensor, decision, format) };
  });
  const metadata = {
    format: "pt",
    ...file.header.metadata,
    "opswap.layout": format.id,
    "opswap.layout_version": String(format.version),
  };
  const created = outputs.flatMap(({ data, scale }) => (scale ? [data, scale] : [data]));
  const layout = layoutFile(created, metadata);
  const place = (name: string) => placed(layout, name);
  const tensors = outputs.map(({ tensor, decision, scheme, data, scale }) => ({
    name: tensor.name,
    source: tensor,
    scheme,
    why: decision.why,
    data: place(data.name),
    scale: scale && place(scale.name),
  }));
  return { name: file.name, source: file, layout, tensors };
}

function placed(layout: FileLayout, name: string): Placed {
  const found = layout.placed.get(name);
  if (found === undefined) throw new Error(`${name} has no place in its file`);
  return found;
}

/** Loaders look these up by name; what is no linear layer is not asked for there. */
function keptModules(decided: readonly Decided[]): string[] {
  return decided
    .filter(({ decision }) => !decision.quantize && decision.layer)
    .map(({ tensor }) => tensor.name.slice(0, -".weight".length))
    .sort();
}

function indexText(files: readonly PlannedFile[]): string {
  const entries = files.flatMap((file) =>
    [...file.layout.placed.values()].map((one) => [one.name, file.name]),
  );
  const total = sum(files, (file) => file.layout.bytes - file.layout.head.length);
  const weightMap = Object.fromEntries(entries.sort(([a = ""], [b = ""]) => (a < b ? -1 : 1)));
  return `${JSON.stringify({ metadata: { total_size: total }, weight_map: weightMap }, null, 2)}\n`;
}

function fingerprintOf(source: Source, options: ConvertOptions, format: Format): string {
  const files = source.files.map(({ name, bytes, header }) => [name, bytes, header.sha256]);
  const side = source.side.map(({ name, bytes }) => [name, bytes]);
  const facts = JSON.stringify([options, format.id, format.version, files, side, source.config]);
  return createHash("sha256").update(facts).digest("hex");
}

export function sum<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}
