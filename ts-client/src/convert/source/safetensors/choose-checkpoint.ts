/** Which of a folder's safetensors are the model: weights of two checkpoints make no third. */
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { convertError } from "../../errors.js";
import { INDEX } from "../side-files.js";
import { type Group, groupsOf } from "./file-groups.js";
import { besideModel, isAdapter, SINGLE } from "./other-weights.js";
import { readIndex, type WeightMap } from "./weight-map.js";

const ENDING = ".safetensors";

export interface CheckpointChoice {
  names: readonly string[];
  /** The index that tells them, and its name. */
  map: WeightMap | null;
  index: string;
  /** Why other weights of the folder are left out. */
  why: Map<string, string>;
}

/** The one checkpoint that transformers would load from the folder; refuses where it cannot be told. */
export function chooseCheckpoint(folder: string, given: string): CheckpointChoice {
  const all = readdirSync(folder).filter((name) => name.endsWith(ENDING));
  if (all.length === 0 && !existsSync(path.join(folder, INDEX))) throw nothingIn(folder, given);
  const group = groupIn(folder, given, all.sort());
  if (group.missing.length > 0)
    throw convertError(
      "OPSWAP_E_SOURCE",
      `${given} lacks ${listed(group.missing)} of the parts that its files' names count`,
      "fetch the missing parts, and model.safetensors.index.json, which names them all",
    );
  const names = new Set(group.names);
  const others = all.filter((name) => !names.has(name));
  const loaded = group.index === null ? group.label : group.index;
  return {
    names: group.names,
    map: group.map,
    index: group.index ?? INDEX,
    why: new Map(
      others.map((name) => [name, besideModel(name) ?? `not of the checkpoint that ${loaded} is`]),
    ),
  };
}

function groupIn(folder: string, given: string, all: readonly string[]): Group {
  const single = all.includes(SINGLE);
  if (existsSync(path.join(folder, INDEX))) {
    const indexed = indexGroup(folder, INDEX);
    if (!single || indexed.names.includes(SINGLE)) return indexed;
    // transformers loads the file, vLLM what the index names.
    throw several(given, [SINGLE, INDEX]);
  }
  if (single) return { label: SINGLE, names: [SINGLE], missing: [], map: null, index: null };
  const indexes = readdirSync(folder).filter((name) => name.endsWith(`${ENDING}.index.json`));
  const indexed = indexes.sort().map((name) => indexGroup(folder, name));
  const named = new Set(indexed.flatMap(({ names }) => names));
  const groups = [...indexed, ...groupsOf(all.filter((name) => !named.has(name)))];
  return onlyOne(given, groups);
}

function indexGroup(folder: string, index: string): Group {
  const map = readIndex(path.join(folder, index));
  const names = [...new Set(Object.values(map))].sort();
  return { label: index, names, missing: [], map, index };
}

/** What goes beside a model, such as an adapter, does not count where there is something else. */
function onlyOne(given: string, groups: readonly Group[]): Group {
  const models = groups.filter(({ label }) => besideModel(label) === undefined);
  const left = models.length > 0 ? models : groups;
  const [first, ...more] = left;
  if (first === undefined) throw convertError("OPSWAP_E_SOURCE", `${given} has no ${ENDING} file`);
  if (more.length > 0)
    throw several(
      given,
      left.map(({ label }) => label),
    );
  if (!isAdapter(first.label)) return first;
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `${given}: ${first.label} is an adapter, which is no model by itself`,
    "merge it into its base model (peft's merge_and_unload), and convert what comes of that",
  );
}

function several(given: string, labels: readonly string[]): Error {
  return convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `${given} has more than one checkpoint: ${listed(labels)}`,
    `move what is not wanted elsewhere, or give one file; parts of one checkpoint need ${INDEX}, or names like model-00001-of-00002${ENDING}`,
  );
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, 6).join(", ");
  return names.length > 6 ? `${shown} and ${names.length - 6} more` : shown;
}

function nothingIn(folder: string, given: string): Error {
  const others = readdirSync(folder).filter((name) => /\.(gguf|bin|pth)$/i.test(name));
  const [other] = others;
  const ggufs = others.filter((name) => /\.gguf$/i.test(name));
  if (ggufs.length > 1)
    return convertError(
      "OPSWAP_E_SOURCE",
      `${given} has ${ggufs.length} GGUF files: ${listed(ggufs)}`,
      "give one of the files; of a model in parts, the first",
    );
  const problem = other === undefined ? "" : `; ${other} is of a format that this version does not read`;
  const remedy =
    other === undefined
      ? "give the folder or file that has the weights"
      : "give the model's safetensors; transformers' save_pretrained writes them";
  return convertError("OPSWAP_E_SOURCE", `${given} has no ${ENDING} file${problem}`, remedy);
}
