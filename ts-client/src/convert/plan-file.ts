import { bf16 } from "./formats/bf16.js";
import { COPY, type EncodeOptions, type Encoding, type Format, type Scheme } from "./formats/types.js";
import { fusedNames } from "./fused.js";
import type { Decision } from "./policy.js";
import { type FileLayout, layoutFile, type Placed } from "./safetensors/layout.js";
import type { SourceFile, SourceTensor } from "./source.js";

export interface Located {
  file: SourceFile;
  tensor: SourceTensor;
}

export type Decided = Located & { decision: Decision };

export interface PlannedTensor {
  name: string;
  source: SourceTensor;
  /** What happens to it, for people. */
  action: string;
  scheme: Scheme;
  why: string;
  data: Placed;
  scale: Placed | null;
  /** Tensors beside it whose bytes are known already. */
  constants: readonly { placed: Placed; bytes: Buffer }[];
  /** Tensors, itself included, whose largest weight decides the one scale that they share; else none. */
  together: readonly Located[];
}

export interface PlannedFile {
  name: string;
  source: SourceFile;
  layout: FileLayout;
  /** In the source's order, which is the order of work. */
  tensors: readonly PlannedTensor[];
}

/** Whether a tensor's codes are those of the layout, so that its scales stay as well. */
const isThere = ({ tensor, decision }: Decided, format: Format) =>
  decision.quantize && tensor.stored?.scales !== undefined && format.holds?.(tensor.stored.scales) === true;

const copied = (tensor: SourceTensor): Encoding => ({
  action: "copy",
  scheme: COPY,
  data: tensor,
  scale: null,
});

/** What is kept is copied, and written as BF16 where its bytes are no plain elements. */
function encodingOf(one: Decided, format: Format, options: EncodeOptions): Encoding {
  if (isThere(one, format)) return copied(one.tensor);
  if (one.decision.quantize) return format.encode(one.tensor, options);
  return one.tensor.stored === undefined ? copied(one.tensor) : bf16.encode(one.tensor, options);
}

/** Lays out a file of the output. */
export function planFile(
  file: SourceFile,
  decided: ReadonlyMap<string, Decided>,
  format: Format,
  options: EncodeOptions,
): PlannedFile {
  const there = [...decided.values()].filter((one) => isThere(one, format));
  const withCodes = new Set(there.map(({ tensor }) => `${tensor.stored?.scales?.tensor.name}`));
  const outputs = file.header.tensors.flatMap((tensor) => {
    const one = decided.get(tensor.name);
    const leftOut = tensor.scaleOf !== undefined && !withCodes.has(tensor.name);
    if (one === undefined || leftOut) return [];
    return [{ tensor, why: one.decision.why, encoding: encodingOf(one, format, options) }];
  });
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
  const tensors = outputs.map(({ tensor, why, encoding }) => ({
    name: tensor.name,
    source: tensor,
    action: encoding.action,
    scheme: encoding.scheme,
    why,
    data: placed(layout, encoding.data.name),
    scale: encoding.scale && placed(layout, encoding.scale.name),
    constants: (encoding.constants ?? []).map((one) => ({
      placed: placed(layout, one.tensor.name),
      bytes: one.bytes,
    })),
    together: sharing(tensor, encoding.scheme, decided),
  }));
  return { name: file.name, source: file, layout, tensors };
}

function sharing(tensor: SourceTensor, scheme: Scheme, decided: ReadonlyMap<string, Decided>): Located[] {
  if (!("blockRows" in scheme) || scheme.blockRows !== 0) return [];
  const names = fusedNames(tensor.name, (name) => decided.has(name));
  return names.flatMap((name) => decided.get(name) ?? []);
}

function placed(layout: FileLayout, name: string): Placed {
  const found = layout.placed.get(name);
  if (found === undefined) throw new Error(`${name} has no place in its file`);
  return found;
}
