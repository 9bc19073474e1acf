/** Lays out the files of an output: which tensors each has, how they are encoded, and where they lie. */
import type { Scheme } from "../../types/convert-job.js";
import type { Folded } from "../awq/types.js";
import { bf16 } from "../formats/bf16.js";
import { COPY, type EncodeOptions, type Encoding, type Format, weighted } from "../formats/types.js";
import type { Decided } from "../policy/decision.js";
import type { Group } from "../readers/layers.js";
import { fusedNames } from "../source/layer-names.js";
import { layoutFile, type Placed } from "../source/safetensors/layout.js";
import type { LeftOut, Located, SourceFile, SourceTensor } from "../source/source.js";
import type { PlannedFile } from "./types.js";

/** One for all: there are tens of thousands of tensors. */
const NONE: readonly never[] = [];

/** Whether a tensor's codes are those of the layout, so that its scales stay as well. */
const isThere = ({ tensor, decision }: Decided, format: Format) =>
  decision.quantize &&
  tensor.dtype === "F8_E4M3" &&
  tensor.stored?.scales !== undefined &&
  tensor.stored.scales.first === undefined &&
  format.holds?.(tensor.stored.scales) === true;

const copied = (tensor: SourceTensor): Encoding => ({
  action: "copy",
  scheme: COPY,
  data: tensor,
  scale: null,
});

export interface FileOptions extends EncodeOptions {
  folds: ReadonlyMap<string, readonly Folded[]>;
  /** Parts that engines fuse. */
  groups: readonly Group[];
}

/** What is kept is copied, and written as BF16 where its bytes are no plain elements. */
export function encodingOf(one: Decided, format: Format, options: FileOptions): Encoding {
  if (isThere(one, format)) return copied(one.tensor);
  const folds = options.folds.get(one.tensor.name) ?? NONE;
  if (one.decision.quantize) {
    const encoding = format.encode(one.tensor, options);
    const reads = folds.some(({ role }) => role === "into");
    return reads ? { ...encoding, scheme: weighted(encoding.scheme) } : encoding;
  }
  const plain = one.tensor.stored === undefined && folds.length === 0;
  return plain ? copied(one.tensor) : bf16.encode(one.tensor, options);
}

/** Lays out the files of the output. */
export function planFiles(
  files: readonly SourceFile[],
  decided: ReadonlyMap<string, Decided>,
  format: Format,
  options: FileOptions,
): PlannedFile[] {
  const withCodes = new Set<string>();
  for (const one of decided.values())
    if (isThere(one, format)) withCodes.add(`${one.tensor.stored?.scales?.tensor.name}`);
  return files.map((file) => {
    const leftOut: LeftOut[] = [...(file.leftOut ?? [])];
    const outputs = file.header.tensors.flatMap((tensor) => {
      const one = decided.get(tensor.name);
      if (one === undefined) return [];
      if (tensor.scaleOf !== undefined && !withCodes.has(tensor.name)) {
        leftOut.push({ tensor, why: `scale of ${tensor.scaleOf}, whose codes are not kept` });
        return [];
      }
      const folds = options.folds.get(tensor.name) ?? NONE;
      const why = [one.decision.why, ...folds.map(foldWords)].join("; ");
      return [{ tensor, why, folds, encoding: encodingOf(one, format, options) }];
    });
    return { ...layOut(file, outputs, decided, format, options.groups), leftOut };
  });
}

function foldWords({ fold, role }: Folded): string {
  if (role === "into") return `columns times the scales of ${fold.from.tensor.name}`;
  const readers =
    fold.into.length > 4
      ? `${fold.into.length} matrices`
      : fold.into.map(({ tensor }) => tensor.name).join(", ");
  return `${fold.kind === "rows" ? "rows " : ""}divided by the scales of ${readers}`;
}

interface Output {
  tensor: SourceTensor;
  why: string;
  folds: readonly Folded[];
  encoding: Encoding;
}

function layOut(
  file: SourceFile,
  outputs: readonly Output[],
  decided: ReadonlyMap<string, Decided>,
  format: Format,
  groups: readonly Group[],
): Omit<PlannedFile, "leftOut"> {
  const metadata = {
    format: "pt",
    ...file.header.metadata,
    "opswap.layout": format.id,
    "opswap.layout_version": String(format.version),
  };
  const created = outputs.flatMap(({ encoding: { data, scale, constants = [] } }) => [
    data,
    ...(scale ? [scale] : []),
    ...constants.map((one) => one.tensor),
  ]);
  const layout = layoutFile(created, metadata);
  const places = new Map(layout.placed.map((one) => [one.name, one]));
  const tensors = outputs.map(
    ({ tensor, why, folds, encoding: { action, scheme, data, scale, constants } }) => ({
      name: tensor.name,
      source: tensor,
      from: file,
      action,
      scheme,
      why,
      data: placed(places, data.name),
      scale: scale && placed(places, scale.name),
      constants:
        constants?.map((one) => ({ placed: placed(places, one.tensor.name), bytes: one.bytes })) ?? NONE,
      together: sharing(tensor, scheme, decided, groups),
      folds,
    }),
  );
  return { name: file.name, layout, tensors };
}

function sharing(
  tensor: SourceTensor,
  scheme: Scheme,
  decided: ReadonlyMap<string, Decided>,
  groups: readonly Group[],
): readonly Located[] {
  if (!("blockRows" in scheme) || scheme.blockRows !== 0) return NONE;
  const names = fusedNames(tensor.name, groups, (name) => decided.has(name));
  return names.flatMap((name) => decided.get(name) ?? []);
}

function placed(places: ReadonlyMap<string, Placed>, name: string): Placed {
  const found = places.get(name);
  if (found === undefined) throw new Error(`${name} has no place in its file`);
  return found;
}
