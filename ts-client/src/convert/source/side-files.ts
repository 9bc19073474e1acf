/** Files beside the weights: which go along into the output, and why the others do not. */
import { type Dirent, readdirSync, statSync } from "node:fs";
import path from "node:path";
import { isWeights, roleOf } from "./known-files.js";

export const INDEX = "model.safetensors.index.json";
export const REPORT = "conversion.json";
export const PAGE = "conversion.html";

/** A file that goes along with the weights. */
export interface SideFile {
  name: string;
  path: string;
  bytes: number;
  /** Whether nobody knows what it is for: it goes along, and `plan` says so. */
  unknown?: true;
}

export interface LeftOutFile {
  name: string;
  why: string;
}

/** Every file below a folder but hidden folders. */
export function walk(folder: string, below: string): string[] {
  const entries: Dirent[] = readdirSync(path.join(folder, below), { withFileTypes: true });
  return entries
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const name = path.join(below, entry.name);
      if (entry.isDirectory()) return entry.name.startsWith(".") ? [] : walk(folder, name);
      return [name];
    });
}

/** Which of these files go along, and why the others do not; `known` says that of weights beside the model's. */
export function sideFiles(folder: string, names: readonly string[], known: ReadonlyMap<string, string>) {
  const side: SideFile[] = [];
  const ofLayout: SideFile[] = [];
  const leftOut: LeftOutFile[] = [];
  const owners = weightsByFolder(names);
  for (const name of names) {
    const file = path.join(folder, name);
    const stat = statSync(file, { throwIfNoEntry: false });
    const why = known.get(name) ?? obstacleOf(name, stat, owners);
    if (why !== undefined || stat === undefined) {
      leftOut.push({ name, why: why ?? "" });
      continue;
    }
    const one = { name, path: file, bytes: stat.size };
    const role = roleOf(path.basename(name));
    if ("why" in role) leftOut.push({ name, why: role.why });
    else side.push(role.kind === "unknown" ? { ...one, unknown: true } : one);
    if (role.kind === "of the layout") ofLayout.push(one);
  }
  return { side, leftOut, ofLayout };
}

/** Folders below the model's that have weights of their own, which are no part of it, with the first of them. */
function weightsByFolder(names: readonly string[]): ReadonlyMap<string, string> {
  const owners = new Map<string, string>();
  for (const name of names)
    if (path.dirname(name) !== "." && isWeights(path.basename(name)) && !owners.has(path.dirname(name)))
      owners.set(path.dirname(name), name);
  return owners;
}

function obstacleOf(
  name: string,
  stat: { isFile(): boolean } | undefined,
  owners: ReadonlyMap<string, string>,
): string | undefined {
  if (!stat?.isFile()) return stat ? "not a file" : "a link that leads nowhere";
  const owner = owners.get(path.dirname(name));
  if (owner !== undefined && !isWeights(path.basename(name)))
    return `goes with ${owner}, which is not converted`;
  return undefined;
}
