/** Opens a GGUF file, or its parts, as a source. */
import { existsSync, readdirSync, statSync } from "node:fs";
import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { convertError } from "../../errors.js";
import { readScales } from "../read-small-tensors.js";
import { type LeftOutFile, walk } from "../side-files.js";
import type { Source, SourceFile, SourceTensor } from "../source.js";
import { configOf, scalarOf, shapeOf } from "./config.js";
import { familyOf } from "./families.js";
import { type GgufHeader, readGguf } from "./header.js";
import { checkFates, fatesOf } from "./keys.js";
import { Metadata } from "./metadata.js";
import { CONSUMED, namedTensors } from "./tensors.js";
import { tokenizerFiles } from "./tokenizer.js";

/** In any case, as hubs have it. */
const GGUF = /\.gguf$/i;
const PART = /^(?<stem>.*)-\d{5}-of-(?<count>\d{5})(?<ending>\.gguf)$/i;
/** Of a file of the output, in BF16: what hubs and loaders are used to. */
const MOST_FILE_BYTES = 5e9;

export interface Part {
  path: string;
  bytes: number;
  modified: string;
  header: GgufHeader;
}

/** Whether a path is, or holds nothing but, a model in GGUF. */
export function isGguf(at: string): boolean {
  return !statSync(at).isDirectory() ? GGUF.test(at) : ggufIn(at) !== undefined;
}

/** The only GGUF model of a folder without safetensors; its first part. */
function ggufIn(folder: string): string | undefined {
  const names = readdirSync(folder).sort();
  if (names.some((name) => name.endsWith(".safetensors"))) return undefined;
  const found = names.filter((name) => GGUF.test(name) && !/-(?!00001)\d{5}-of-\d{5}\.gguf$/i.test(name));
  return found.length === 1 ? found[0] : undefined;
}

/** The parts of the model that a path is, or holds. */
export function ggufFiles(at: string): Part[] {
  return partsOf(statSync(at).isDirectory() ? path.join(at, ggufIn(at) ?? "") : at);
}

/** Opens a GGUF file, all parts of one, or a folder with one. `tokenizer`: a folder, "none", or undefined to make it. */
export function openGguf(at: string, tokenizer: string | undefined): Source {
  const parts = ggufFiles(at);
  const given = statSync(at).isDirectory();
  const [first] = parts;
  if (first === undefined) throw convertError("OPSWAP_E_SOURCE", `${at} has no .gguf file`);
  const metadata = new Metadata(first.path, first.header);
  const family = familyOf(first.path, metadata.architecture);
  const shape = shapeOf(metadata);
  const facts = { metadata, family, headDim: shape.headDim, scalar: scalarOf(family, shape) };
  const entries = fatesOf(facts, tokenizer !== undefined);
  checkFates(first.path, entries, metadata.entries);
  for (const part of parts.slice(1)) checkLaterPart(part, first);
  const heads = { q: shape.heads, k: shape.kvHeads };
  const named = parts.map((part) => ({ part, tensors: namedTensors(part.path, part.header, family, heads) }));
  const tensors = named.flatMap((one) => one.tensors);
  checkTwice(first.path, tensors);
  const files = sharded(
    named.flatMap(({ part, tensors }) => groups(tensors).map((some) => fileOf(part, some))),
  );
  return {
    kind: "gguf",
    root: at,
    folder: path.dirname(first.path),
    files,
    config: configOf(metadata, family, tensors, factorsOf(parts)),
    indexed: files.length > 1,
    side: tokenizerFiles(metadata, first.header.sha256, tokenizer),
    leftOut: given ? besides(at, parts) : [],
    ofLayout: [],
    entries,
    ...(tokenizer === undefined ? {} : { tokenizer }),
  };
}

/** Other files of a folder: config.json and the tokenizer are made from the GGUF file. */
function besides(folder: string, parts: readonly Part[]): LeftOutFile[] {
  const ours = new Set(parts.map(({ path: file }) => path.basename(file)));
  return walk(folder, "")
    .filter((name) => !ours.has(name))
    .map((name) => ({
      name,
      why: "beside a GGUF file, from which everything is made; --tokenizer DIR takes a tokenizer",
    }));
}

/** A file's parts in order, as llama.cpp splits them. */
function partsOf(file: string): Part[] {
  const first = readPart(file);
  const count = Number(first.header.metadata.get("split.count") ?? 1);
  if (count <= 1) return [first];
  const { stem, ending, count: named } = PART.exec(path.basename(file))?.groups ?? {};
  if (Number(named) !== count)
    throw convertError("OPSWAP_E_SOURCE", `${file} is one of ${count} parts, which its name does not say`);
  const digits = (value: number) => String(value).padStart(5, "0");
  return Array.from({ length: count }, (_, i) => {
    const name = `${stem}-${digits(i + 1)}-of-${digits(count)}${ending}`;
    const part = readPart(path.join(path.dirname(file), name));
    if (Number(part.header.metadata.get("split.no")) === i) return part;
    throw convertError("OPSWAP_E_SOURCE", `${part.path} does not say that it is part ${i + 1}`);
  });
}

function readPart(file: string): Part {
  if (!existsSync(file)) throw convertError("OPSWAP_E_SOURCE", `${file} is not there; all parts are needed`);
  const { size, mtimeNs } = statSync(file, { bigint: true });
  return { path: file, bytes: Number(size), modified: String(mtimeNs), header: readGguf(file) };
}

/** The first part's metadata are the model's: a later one has nothing of its own but which part it is. */
function checkLaterPart(part: Part, first: Part): void {
  for (const [key, value] of part.header.metadata) {
    const same = isDeepStrictEqual(value, first.header.metadata.get(key));
    if (same || /^(split|general)\./.test(key)) continue;
    throw convertError(
      "OPSWAP_E_CANNOT_CONVERT",
      `${part.path}: metadata ${key} is not what ${path.basename(first.path)} says`,
      "give parts that were split from one file",
    );
  }
}

function checkTwice(file: string, tensors: readonly SourceTensor[]): void {
  const names = new Set<string>();
  for (const { name } of tensors) {
    if (names.has(name)) throw convertError("OPSWAP_E_SOURCE", `${file} has tensor ${name} twice`);
    names.add(name);
  }
}

/** Runs of tensors that fill a file of the output. */
function groups(tensors: readonly SourceTensor[]): SourceTensor[][] {
  const all: SourceTensor[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const tensor of tensors) {
    const size = 2 * tensor.shape.reduce((product, extent) => product * extent, 1);
    if (bytes + size > MOST_FILE_BYTES) {
      all.push([]);
      bytes = 0;
    }
    all.at(-1)?.push(tensor);
    bytes += size;
  }
  return all;
}

function fileOf({ path: at, bytes, modified, header }: Part, tensors: SourceTensor[]): SourceFile {
  const { dataStart, sha256 } = header;
  return { name: "", path: at, bytes, modified, header: { tensors, metadata: {}, dataStart, sha256 } };
}

function sharded(files: readonly SourceFile[]): SourceFile[] {
  const digits = (value: number) => String(value).padStart(5, "0");
  const name = (i: number) =>
    files.length === 1 ? "model" : `model-${digits(i + 1)}-of-${digits(files.length)}`;
  return files.map((file, i) => ({ ...file, name: `${name(i)}.safetensors` }));
}

/** Llama 3's factors for frequencies. */
function factorsOf(parts: readonly Part[]): Float32Array | null {
  for (const { path: at, header } of parts) {
    const tensor = header.tensors.find(({ name }) => CONSUMED.test(name));
    if (tensor === undefined) continue;
    const { name, shape, begin, end, type } = tensor;
    if (type.name !== "F32" || end - begin > 4096)
      throw convertError("OPSWAP_E_SOURCE", `${at}: ${name} is ${type.name} [${shape.join(", ")}]`);
    const entry = { name, dtype: type.name, shape, begin, end };
    return readScales({ tensor: entry, path: at, offset: header.dataStart + begin, rows: 1, columns: 1 });
  }
  return null;
}
