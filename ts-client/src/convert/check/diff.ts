/** Compares two checkpoints tensor by tensor. */
import { closeSync, openSync } from "node:fs";
import { loadNative } from "../../native.js";
import { COPY } from "../formats/types.js";
import { openSource } from "../source/open.js";
import { allTensors, type SourceFile, type SourceTensor } from "../source/source.js";

type Located = { file: SourceFile; tensor: SourceTensor };

export interface DiffEntry {
  name: string;
  what: "only in A" | "only in B" | "dtype" | "shape" | "bytes";
  detail: string;
}

/** Tensors of two checkpoints that are not the same, bit for bit; how they are spread over files does not count. */
export async function diff(
  a: string,
  b: string,
  threads: number,
): Promise<{ same: number; entries: DiffEntry[] }> {
  const byName = (given: string) =>
    new Map(allTensors(openSource(given, "none", { cut: true })).map((one) => [one.tensor.name, one]));
  const [left, right] = [byName(a), byName(b)];
  const entries: DiffEntry[] = [];
  let same = 0;
  for (const name of [...new Set([...left.keys(), ...right.keys()])].sort()) {
    const entry = await compare(name, left.get(name), right.get(name), threads);
    if (entry === undefined) same++;
    else entries.push(entry);
  }
  return { same, entries };
}

async function compare(
  name: string,
  a: Located | undefined,
  b: Located | undefined,
  threads: number,
): Promise<DiffEntry | undefined> {
  if (a === undefined || b === undefined) return { name, what: a ? "only in A" : "only in B", detail: "" };
  if (a.tensor.dtype !== b.tensor.dtype)
    return { name, what: "dtype", detail: `${a.tensor.dtype}, ${b.tensor.dtype}` };
  const shapes = [a, b].map(({ tensor }) => `[${tensor.shape.join(", ")}]`);
  if (shapes[0] !== shapes[1]) return { name, what: "shape", detail: shapes.join(", ") };
  const { differing, firstDiffering } = await compareBytes(a, b, threads);
  if (differing === 0) return undefined;
  const all = a.tensor.end - a.tensor.begin;
  return { name, what: "bytes", detail: `${differing} of ${all}, the first at ${firstDiffering}` };
}

async function compareBytes(a: Located, b: Located, threads: number) {
  const source = openSync(a.file.path, "r");
  const target = openSync(b.file.path, "r");
  try {
    return await loadNative().convertTensor({
      mode: "verify",
      scheme: COPY,
      element: "bytes",
      nonfinite: "keep",
      source,
      target,
      sourceOffset: a.file.header.dataStart + a.tensor.begin,
      dataOffset: b.file.header.dataStart + b.tensor.begin,
      scaleOffset: 0,
      rows: 1,
      columns: a.tensor.end - a.tensor.begin,
      threads,
    });
  } finally {
    closeSync(source);
    closeSync(target);
  }
}
