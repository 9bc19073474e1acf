import { type Dirent, readdirSync, statSync } from "node:fs";
import path from "node:path";

export const INDEX = "model.safetensors.index.json";
export const REPORT = "conversion.json";
export const PAGE = "conversion.html";

/** Lists of sha256 digests, as `sha256sum` writes them. */
export const DIGEST_LISTS = /^(sha256sums?|checksums?)(\.txt|\.sha256)?$|\.sha256$/i;
/** Weights in other formats, which would be stale beside converted ones. */
const OTHER_WEIGHTS = /(^pytorch_model.*\.bin|\.(pth|pt|gguf|h5|msgpack|ckpt|onnx|safetensors|index\.json))$/;

/** A file that goes along with the weights. */
export interface SideFile {
  name: string;
  path: string;
  bytes: number;
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

/** Which of these files go along, and why the others do not. */
export function sideFiles(folder: string, names: readonly string[]) {
  const side: SideFile[] = [];
  const leftOut: { name: string; why: string }[] = [];
  for (const name of names) {
    const file = path.join(folder, name);
    const stat = statSync(file, { throwIfNoEntry: false });
    if (!stat?.isFile()) leftOut.push({ name, why: stat ? "not a file" : "a link that leads nowhere" });
    else if (OTHER_WEIGHTS.test(path.basename(name)))
      leftOut.push({ name, why: "weights that are not converted" });
    else if (DIGEST_LISTS.test(path.basename(name)))
      leftOut.push({ name, why: "digests of files that are others now" });
    else if (isOurs(name)) leftOut.push({ name, why: "the report of an earlier conversion" });
    else side.push({ name, path: file, bytes: stat.size });
  }
  return { side, leftOut };
}

function isOurs(name: string): boolean {
  return name === REPORT || name === PAGE;
}
