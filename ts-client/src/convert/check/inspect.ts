/** Lists the files and tensors of a checkpoint, safetensors or GGUF, with bytes per dtype. Only headers are read. */
import { existsSync } from "node:fs";
import path from "node:path";
import { readSummary } from "../report/report.js";
import { isGguf } from "../source/gguf/checkpoint.js";
import { inspectGguf } from "../source/gguf/inspect.js";
import type { Inspection } from "../source/inspection.js";
import { openSource } from "../source/open.js";
import { allTensors } from "../source/source.js";
import { sum } from "../sum.js";

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
