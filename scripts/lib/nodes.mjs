// Node of each major version that opswap is run with, from packages of the registry that env/node locks, kept in the cache.
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { digest } from "./digest.mjs";
import { logged } from "./exec.mjs";
import { withLock } from "./mutex.mjs";
import { cacheDir, root } from "./paths.mjs";
import { step } from "./ui.mjs";

/** @typedef {{ version: string, program: string }} Node */

const LOCK = ["package.json", "package-lock.json"];

/** @param {string} place */
async function fill(place) {
  const fresh = `${place}.unfinished`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh);
  for (const file of LOCK) cpSync(join(root, "env/node", file), join(fresh, file));
  const args = ["ci", "--ignore-scripts", "--no-bin-links"];
  await step("Node of each version", (progress) => logged("nodes", "npm", args, { cwd: fresh, progress }));
  renameSync(fresh, place);
}

/** All that are locked, oldest first. @returns {Promise<Node[]>} */
export async function everyNode() {
  const place = join(cacheDir(), "envs", `node-${digest(LOCK.map((file) => `env/node/${file}`))}`);
  mkdirSync(dirname(place), { recursive: true });
  await withLock(`${place}.lock`, "Node of each version", async () => {
    if (!existsSync(place)) await fill(place);
  });
  const { dependencies } = JSON.parse(readFileSync(join(place, "package.json"), "utf8"));
  return Object.keys(dependencies)
    .sort()
    .map((name) => {
      const folder = join(place, "node_modules", name);
      const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
      return { version: version.replace("v", ""), program: join(folder, "bin/node") };
    });
}
