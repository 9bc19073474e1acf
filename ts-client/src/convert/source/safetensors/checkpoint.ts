/** Opens a folder of safetensors, or one file, as a source. */
import { existsSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { z } from "zod";
import { convertError } from "../../errors.js";
import { parseJson } from "../../text/python-json.js";
import { INDEX, sideFiles, walk } from "../side-files.js";
import type { Source, SourceFile } from "../source.js";
import { chooseCheckpoint } from "./choose-checkpoint.js";
import { readHeader } from "./header.js";
import { atRank, rankOf } from "./rank-files.js";
import type { WeightMap } from "./weight-map.js";

const ENDING = ".safetensors";

/** Opens a folder that is at `at`, links resolved, or a single file. */
export function openSafetensors(given: string, at: string, cut: boolean): Source {
  if (!statSync(at).isDirectory()) return singleFile(path.resolve(given), at);
  const { names, map, index, why } = chooseCheckpoint(at, given);
  if (!cut && names.some((name) => rankOf(name) !== undefined))
    throw convertError(
      "OPSWAP_E_CANNOT_CONVERT",
      `${given} is cut for ranks already`,
      "convert the checkpoint that it was made from",
    );
  const files = names.map((name) => byRank(sourceFile(at, name, index)));
  checkNames(files, map, index);
  const known = new Set([...names, index, INDEX, "config.json"]);
  const config = readConfig(at);
  if (config !== null) why.set("params.json", "Mistral's own configuration, of consolidated.safetensors");
  const entries = walk(at, "").filter((name) => !known.has(name));
  return {
    kind: "safetensors",
    root: at,
    folder: at,
    files,
    config,
    indexed: map !== null || names.length > 1,
    ...sideFiles(at, entries, why),
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
  return {
    kind: "safetensors",
    root,
    folder,
    files,
    config,
    indexed: false,
    side: [],
    leftOut: [],
    ofLayout: [],
  };
}

function sourceFile(folder: string, name: string, index = INDEX): SourceFile {
  const file = path.join(folder, name);
  if (!existsSync(file))
    throw convertError(
      "OPSWAP_E_SOURCE",
      `${file} is named by ${index} and is not there`,
      "fetch it: all files that the index names are needed",
    );
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

const FIT = "give weights and an index that are of one checkpoint: fetch the folder again";

/** Every tensor is in one file, and the index and the files say the same. */
function checkNames(files: readonly SourceFile[], map: WeightMap | null, index: string): void {
  const where = new Map<string, string>();
  for (const { name: file, header } of files) {
    for (const { name } of header.tensors) {
      const other = where.get(name);
      if (other !== undefined)
        throw convertError("OPSWAP_E_SOURCE", `tensor ${name} is in ${other} and in ${file}`, FIT);
      where.set(name, file);
      if (map !== null && !Object.hasOwn(map, name))
        throw convertError("OPSWAP_E_SOURCE", `tensor ${name} is in ${file}, but not in ${index}`, FIT);
    }
  }
  for (const [name, file] of Object.entries(map ?? {})) {
    const found = where.get(name);
    if (found !== file)
      throw convertError(
        "OPSWAP_E_SOURCE",
        `${index} says that ${name} is in ${file}; it is ${found ? `in ${found}` : "in no file"}`,
        FIT,
      );
  }
}
