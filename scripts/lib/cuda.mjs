// Finds nvcc: an installed CUDA 12.8 or later, else the pinned one of env/cuda.lock. OPSWAP_CUDA=off leaves CUDA out,
// OPSWAP_CUDA=on makes a missing toolchain an error; without either it is said, and the library has no CUDA kernels.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { ensureEnv } from "./envs.mjs";
import { probe } from "./exec.mjs";
import { SetupError, say } from "./ui.mjs";

const OLDEST = { major: 12, minor: 8 };

/** @param {string} text of `nvcc --version` @returns {string | null} e.g. 13.0.88 */
export function releaseOf(text) {
  return /\bV(\d+\.\d+\.\d+)/.exec(text)?.[1] ?? null;
}

/** @param {string} release */
export function isNewEnough(release) {
  const [major = 0, minor = 0] = release.split(".").map(Number);
  return major > OLDEST.major || (major === OLDEST.major && minor >= OLDEST.minor);
}

async function installed() {
  const candidates = [process.env.CUDACXX, "nvcc", "/usr/local/cuda/bin/nvcc"].filter((path) => path);
  for (const command of candidates) {
    const path = command === "nvcc" ? await probe("sh", ["-c", "command -v nvcc"]) : command;
    const text = path ? await probe(path, ["--version"]) : null;
    const release = text === null ? null : releaseOf(text);
    if (path && release !== null && isNewEnough(release)) return path;
  }
  return null;
}

/** Program of a CUDA wheel inside an environment. @param {string} env @param {string} name */
export function wheelProgram(env, name) {
  const python = readdirSync(join(env, "lib")).find((folder) => folder.startsWith("python"));
  return join(env, "lib", python ?? "", "site-packages/nvidia/cu13/bin", name);
}

/**
 * @param {import("./python.mjs").Python} python
 * @returns {Promise<string | null>} path of nvcc, or null: build without CUDA
 */
export async function findNvcc(python) {
  const wish = process.env.OPSWAP_CUDA ?? "auto";
  if (!["auto", "on", "off"].includes(wish))
    throw new SetupError(`OPSWAP_CUDA is "${wish}", needs on, off or auto`);
  if (wish === "off") return null;
  const own = await installed();
  if (own !== null) return own;
  try {
    return wheelProgram(await ensureEnv("cuda", python), "nvcc");
  } catch (error) {
    if (!(error instanceof SetupError) || wish === "on") throw error;
    const reason = error.message.split("\n", 1)[0];
    say(
      `  no CUDA toolchain (${reason}): building without CUDA kernels; run again where packages can be fetched, install CUDA 12.8 or later, or set OPSWAP_CUDA=off`,
    );
    return null;
  }
}
