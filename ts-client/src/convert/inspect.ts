import { existsSync } from "node:fs";
import path from "node:path";
import { isGguf } from "./gguf/checkpoint.js";
import { inspectGguf } from "./gguf/inspect.js";
import type { KeyFate } from "./gguf/keys.js";
import { sum } from "./plan.js";
import { readSummary } from "./report.js";
import { allTensors, openSource } from "./source.js";

/** What is in a checkpoint, by its headers. */
export interface Inspection {
  root: string;
  files: { name: string; bytes: number; tensors: number; metadata: Readonly<Record<string, string>> }[];
  dtypes: { dtype: string; tensors: number; bytes: number }[];
  tensors: { name: string; dtype: string; shape: readonly number[]; bytes: number; file: string }[];
  /** Of a GGUF file that can be converted: what would become of each metadata key. */
  fates: KeyFate[] | null;
  /** Where it is an output of the converter. */
  layout: { id: string; version: number } | null;
}

export function inspect(given: string): Inspection {
  const found =
    existsSync(given) && isGguf(given) ? inspectGguf(path.resolve(given)) : inspectSafetensors(given);
  const dtypes = [...new Set(found.tensors.map((tensor) => tensor.dtype))].sort().map((dtype) => {
    const some = found.tensors.filter((tensor) => tensor.dtype === dtype);
    return { dtype, tensors: some.length, bytes: sum(some, (tensor) => tensor.bytes) };
  });
  return { layout: null, ...found, dtypes };
}

function inspectSafetensors(given: string): Omit<Inspection, "dtypes"> {
  const source = openSource(given, undefined, { cut: true });
  const tensors = allTensors(source).map(({ file, tensor }) => ({
    name: tensor.name,
    dtype: tensor.dtype,
    shape: tensor.shape,
    bytes: tensor.end - tensor.begin,
    file: file.name,
  }));
  const files = source.files.map(({ name, bytes, header }) => ({
    name,
    bytes,
    tensors: header.tensors.length,
    metadata: header.metadata,
  }));
  return {
    root: source.root,
    files,
    tensors,
    fates: null,
    layout: readSummary(source.folder)?.layout ?? null,
  };
}
