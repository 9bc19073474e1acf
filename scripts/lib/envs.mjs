// Python environments made from lock files, kept in the cache by digest and shared between clones.
// They are built beside their final place and renamed into it, so a folder that exists is complete.
import { existsSync, mkdirSync, renameSync, rmSync, statfsSync } from "node:fs";
import { dirname, join } from "node:path";
import { digest } from "./digest.mjs";
import { logged } from "./exec.mjs";
import { withLock } from "./mutex.mjs";
import { cacheDir, root } from "./paths.mjs";
import { SetupError, say, step } from "./ui.mjs";

/** @typedef {import("./python.mjs").Python} Python */
/** @typedef {{ note(text: string): void }} Notes */

const GB = 1024 ** 3;
/** Unpacked sizes, to refuse before a download rather than in the middle of one. */
const NEEDED_GB = {
  uv: 1,
  tools: 1,
  package: 1,
  engine: 8,
  sglang: 8,
  bench: 8,
  llmcompressor: 1,
  cuda: 1,
  sass: 1,
  ray: 1,
  mpi: 1,
};

/** @param {string} name @param {Python} python */
function placeOf(name, python) {
  const key = digest([`env/${name}.lock`], [python.version, process.arch]);
  return join(cacheDir(), "envs", `${name}-${key}`);
}

/** @param {keyof typeof NEEDED_GB} name @param {string} folder */
function checkDisk(name, folder) {
  const { bavail, bsize } = statfsSync(folder);
  const free = (bavail * bsize) / GB;
  if (free >= NEEDED_GB[name]) return;
  throw new SetupError(
    `the ${name} environment needs ${NEEDED_GB[name]} GB in ${folder}, ${free.toFixed(1)} GB are free; set OPSWAP_CACHE to a folder on a larger disk`,
  );
}

/**
 * @param {keyof typeof NEEDED_GB} name
 * @param {Python} python
 * @param {(folder: string, progress: Notes) => Promise<void>} fill makes the environment in a folder that is not there yet
 * @returns {Promise<string>} the environment's folder
 */
async function ensure(name, python, fill) {
  const place = placeOf(name, python);
  if (existsSync(place)) return place;
  mkdirSync(dirname(place), { recursive: true });
  await withLock(`${place}.lock`, `${name} environment`, async () => {
    if (existsSync(place)) return;
    checkDisk(name, dirname(place));
    const unfinished = `${place}.unfinished`;
    rmSync(unfinished, { recursive: true, force: true });
    say(`  ${name} environment: new lock file or Python, building ${place}`);
    await step(`${name} environment`, (progress) => fill(unfinished, progress));
    renameSync(unfinished, place);
  });
  return place;
}

/** The resolver that makes and fills the others. @param {Python} python */
export async function ensureUv(python) {
  const place = await ensure("uv", python, async (folder, progress) => {
    await logged("env-uv", python.path, ["-m", "venv", folder], { progress });
    const args = ["-m", "pip", "install", "--require-hashes", "--no-deps", "-r", join(root, "env/uv.lock")];
    await logged("env-uv", join(folder, "bin/python"), args, { progress });
  });
  return join(place, "bin/uv");
}

/**
 * @param {Exclude<keyof typeof NEEDED_GB, "uv">} name
 * @param {Python} python
 * @param {Python} [host] runs the resolver, which need not be there for each Python
 * @returns {Promise<string>} the environment's folder; its programs are in bin/
 */
export async function ensureEnv(name, python, host = python) {
  if (existsSync(placeOf(name, python))) return placeOf(name, python);
  const uv = await ensureUv(host);
  const env = { UV_PYTHON_DOWNLOADS: "never", UV_NO_CONFIG: "1" };
  return ensure(name, python, async (folder, progress) => {
    // Relocatable, since it is renamed when it is complete.
    const make = ["venv", "--quiet", "--relocatable", "--python", python.path, folder];
    await logged(`env-${name}`, uv, make, { env, progress });
    const args = ["pip", "install", "--python", join(folder, "bin/python"), "--require-hashes", "--no-deps"];
    await logged(`env-${name}`, uv, [...args, "-r", join(root, `env/${name}.lock`)], { env, progress });
  });
}
