// Versions of compressed-tensors that the loader matrix reads with, beside that of the engine's environment: what other
// engines pin, and the newest. Each in a folder of the cache that goes on PYTHONPATH.
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ensureUv } from "./envs.mjs";
import { logged } from "./exec.mjs";
import { withLock } from "./mutex.mjs";
import { cacheDir } from "./paths.mjs";
import { step } from "./ui.mjs";

/** The wheels' SHA-256 by version: what the lock files have for their packages. */
const WHEELS = {
  "0.18.0": "91168237c2d815614c44dfc354c61c613085c811dabbb2ccdb929e9aaa313b8f",
  "0.19.0": "5c2dcfd9cd820521906e23e096a51d68755cb88b67e19b1a5c9e11fa69637fb2",
  "0.20.1": "15307c904904219cafcb57d55f16b1bd6baf108d0421b65dfa79eece01672382",
};

/** @param {import("./python.mjs").Python} python @param {string} version @param {string} sha256 */
async function ensureVersion(python, version, sha256) {
  const name = `compressed-tensors-${version}`;
  const place = join(cacheDir(), "envs", `${name}-${sha256.slice(0, 16)}`);
  if (existsSync(place)) return place;
  const uv = await ensureUv(python);
  mkdirSync(dirname(place), { recursive: true });
  await withLock(`${place}.lock`, name, async () => {
    if (existsSync(place)) return;
    const unfinished = `${place}.unfinished`;
    rmSync(unfinished, { recursive: true, force: true });
    const wanted = `${place}.txt`;
    writeFileSync(wanted, `compressed-tensors==${version} --hash=sha256:${sha256}\n`);
    const args = ["pip", "install", "--python", python.path, "--target", unfinished];
    args.push("--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", wanted);
    const env = { UV_PYTHON_DOWNLOADS: "never", UV_NO_CONFIG: "1" };
    await step(name, (progress) => logged(name, uv, args, { env, progress }));
    rmSync(wanted);
    renameSync(unfinished, place);
  });
  return place;
}

/** Their folders. @param {import("./python.mjs").Python} python @returns {Promise<string[]>} */
export async function compressedTensors(python) {
  const folders = [];
  for (const [version, sha256] of Object.entries(WHEELS))
    folders.push(await ensureVersion(python, version, sha256));
  return folders;
}
