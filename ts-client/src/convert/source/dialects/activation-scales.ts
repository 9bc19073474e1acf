/** Leaves out the scales of activations and of the key-value cache, which no output has. */
import type { LeftOut, Source, SourceFile, SourceTensor } from "../source.js";

/** Scales and zero points of what a layer reads or makes, and of the cache of keys and values. */
const ACTIVATION =
  /(^|[._])(?<what>input|activation|act|output|prob|softmax|[qkv]|kv|qkv|(k|v|kv)_cache)_(scale|scale_inv|scale_ub|scaling_factor|zero_point)$/;

/** What a scale is of that no layout has a place for; undefined for every other tensor. */
function activationOf(name: string): string | undefined {
  const what = ACTIVATION.exec(name)?.groups?.what;
  if (what === undefined) return undefined;
  if (/^(input|activation|act)$/.test(what)) return "inputs";
  if (what === "output") return "outputs";
  return /^(prob|softmax|q|qkv)$/.test(what) ? "attention" : "the cache of keys and values";
}

const remark = (what: string) => `a scale of ${what}: no layout here has a place for it`;

/**
 * Takes out of a source what no output holds: scales of activations and of the cache. In a source that is not quantised
 * a learned vector may have such a name; there only lone numbers beside a matrix go.
 */
export function withoutActivations(source: Source, quantized: boolean): Source {
  const names = new Set(source.files.flatMap(({ header }) => header.tensors.map(({ name }) => name)));
  const why = (tensor: SourceTensor): string | undefined => {
    const what = activationOf(tensor.name);
    if (what === undefined) return undefined;
    return quantized || isBesideMatrix(tensor, names) ? remark(what) : undefined;
  };
  return { ...source, files: source.files.map((file) => leave(file, why)) };
}

/** Moves tensors of a file to those that are left out, each with its reason. */
export function leave(file: SourceFile, why: (tensor: SourceTensor) => string | undefined): SourceFile {
  const left: LeftOut[] = [];
  const tensors = file.header.tensors.filter((tensor) => {
    const reason = why(tensor);
    if (reason !== undefined) left.push({ tensor, why: reason });
    return reason === undefined;
  });
  if (left.length === 0) return file;
  return { ...file, header: { ...file.header, tensors }, leftOut: [...(file.leftOut ?? []), ...left] };
}

function isBesideMatrix({ name, shape }: SourceTensor, names: ReadonlySet<string>): boolean {
  const parent = name.slice(0, name.lastIndexOf(".") + 1);
  const beside = ["weight", "k_proj.weight", "qkv_proj.weight"].some((one) => names.has(`${parent}${one}`));
  return beside && shape.every((extent) => extent === 1);
}
