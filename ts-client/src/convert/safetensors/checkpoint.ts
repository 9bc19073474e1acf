import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { z } from "zod";
import { convertError } from "../errors.js";
import { parseJson } from "../python-json.js";
import { atRank, rankOf } from "../ranks/names.js";
import { INDEX, sideFiles, walk } from "../side-files.js";
import type { Source, SourceFile } from "../source.js";
import { readHeader } from "./header.js";

const ENDING = ".safetensors";
const index = z.object({ weight_map: z.record(z.string(), z.string()) });

/** Opens a folder that is at `at`, links resolved, or a single file. */
export function openSafetensors(given: string, at: string, cut: boolean): Source {
  if (!statSync(at).isDirectory()) return singleFile(path.resolve(given), at);
  const map = readIndex(at);
  const names = map === null ? namesIn(at) : [...new Set(Object.values(map))].sort();
  if (names.length === 0)
    throw convertError("OPSWAP_E_SOURCE", `${given} has no ${ENDING} file${otherFormat(at)}`);
  if (!cut && names.some((name) => rankOf(name) !== undefined))
    throw convertError(
      "OPSWAP_E_CANNOT_CONVERT",
      `${given} is cut for ranks already`,
      "convert the checkpoint that it was made from",
    );
  const files = names.map((name) => byRank(sourceFile(at, name)));
  checkNames(files, map);
  const entries = walk(at, "").filter(
    (name) => !names.includes(name) && name !== INDEX && name !== "config.json",
  );
  return {
    kind: "safetensors",
    root: at,
    folder: at,
    files,
    config: readConfig(at),
    indexed: map !== null || names.length > 1,
    ...sideFiles(at, entries),
  };
}

function singleFile(file: string, root: string): Source {
  if (!file.endsWith(ENDING)) {
    const remedy = "the source is a folder of safetensors, or one .safetensors file";
    throw convertError("OPSWAP_E_CANNOT_CONVERT", `${file} is not a ${ENDING} file`, remedy);
  }
  const folder = path.dirname(file);
  const files = [sourceFile(folder, path.basename(file))];
  const config = readConfig(folder);
  return { kind: "safetensors", root, folder, files, config, indexed: false, side: [], leftOut: [] };
}

function sourceFile(folder: string, name: string): SourceFile {
  const file = path.join(folder, name);
  if (!existsSync(file))
    throw convertError("OPSWAP_E_SOURCE", `${file} is named by ${INDEX} and is not there`);
  const { size, mtimeNs } = statSync(file, { bigint: true });
  return { name, path: file, bytes: Number(size), modified: String(mtimeNs), header: readHeader(file) };
}

/** Ranks have tensors of the same names. */
function byRank(file: SourceFile): SourceFile {
  const rank = rankOf(file.name);
  if (rank === undefined) return file;
  const tensors = file.header.tensors.map((one) => ({ ...one, name: atRank(one.name, rank) }));
  return { ...file, header: { ...file.header, tensors } };
}

function readIndex(folder: string): Record<string, string> | null {
  const file = path.join(folder, INDEX);
  if (!existsSync(file)) return null;
  const parsed = index.safeParse(parseJson(file));
  if (!parsed.success) throw convertError("OPSWAP_E_SOURCE", `${file} has no weight_map of names to files`);
  const outside = Object.values(parsed.data.weight_map).find((name) => path.basename(name) !== name);
  if (outside !== undefined)
    throw convertError(
      "OPSWAP_E_SOURCE",
      `${file} names ${JSON.stringify(outside)}, which is not a file beside it`,
    );
  return parsed.data.weight_map;
}

function readConfig(folder: string): string | null {
  const file = path.join(folder, "config.json");
  if (!existsSync(file)) return null;
  const parsed = z.record(z.string(), z.unknown()).safeParse(parseJson(file));
  if (parsed.success) return readFileSync(file, "utf8");
  throw convertError(
    "OPSWAP_E_SOURCE",
    `${file} is JSON, but no object: a model's configuration is one`,
    "give the model's own config.json",
  );
}

/** Every tensor is in one file, and the index and the files say the same. */
function checkNames(files: readonly SourceFile[], map: Record<string, string> | null): void {
  const where = new Map<string, string>();
  for (const { name: file, header } of files) {
    for (const { name } of header.tensors) {
      const other = where.get(name);
      if (other !== undefined)
        throw convertError("OPSWAP_E_SOURCE", `tensor ${name} is in ${other} and in ${file}`);
      where.set(name, file);
      if (map !== null && !Object.hasOwn(map, name))
        throw convertError("OPSWAP_E_SOURCE", `tensor ${name} is in ${file}, but not in ${INDEX}`);
    }
  }
  for (const [name, file] of Object.entries(map ?? {})) {
    const found = where.get(name);
    if (found !== file)
      throw convertError(
        "OPSWAP_E_SOURCE",
        `${INDEX} says that ${name} is in ${file}; it is ${found ? `in ${found}` : "in no file"}`,
      );
  }
}

function namesIn(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(ENDING))
    .sort();
}

function otherFormat(folder: string): string {
  const other = readdirSync(folder).find((name) => /\.(gguf|bin|pth)$/.test(name));
  return other === undefined ? "" : `; ${other} is of a format that this version does not read`;
}
