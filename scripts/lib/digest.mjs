// Digests of input files, and stamps that say for which inputs a build step was last done.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { root } from "./paths.mjs";

const IGNORED = new Set(["__pycache__", "node_modules", ".pytest_cache", ".ruff_cache"]);

/** @param {string} path @returns {string[]} */
function filesBelow(path) {
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  const names = readdirSync(path).filter((name) => !IGNORED.has(name));
  return names.sort().flatMap((name) => filesBelow(join(path, name)));
}

/**
 * Hex digest over names and contents of files and folders, and over plain strings such as versions.
 * @param {string[]} paths relative to the checkout
 * @param {string[]} [facts]
 */
export function digest(paths, facts = []) {
  const hash = createHash("sha256");
  for (const file of paths.flatMap((path) => filesBelow(join(root, path)))) {
    hash
      .update(`${relative(root, file)}\0`)
      .update(readFileSync(file))
      .update("\0");
  }
  return hash.update(facts.join("\0")).digest("hex").slice(0, 16);
}

/** @param {string} file @param {string} value */
export function stampIs(file, value) {
  return existsSync(file) && readFileSync(file, "utf8") === value;
}

/** @param {string} file @param {string} value */
export function writeStamp(file, value) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, value);
}
