// Finds nvcc: an installed CUDA 12.8 or later, else the pinned one of env/cuda.lock. OPSWAP_CUDA=off leaves CUDA out,
// OPSWAP_CUDA=on makes a missing toolchain an error; without either it is said, and the library has no CUDA kernels.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { findCompiler } from "./compiler.mjs";
import { digest, stampIs, writeStamp } from "./digest.mjs";
import { ensureEnv } from "./envs.mjs";
import { probe } from "./exec.mjs";
import { buildDir, nativeWork } from "./paths.mjs";
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
 * A kernel of nothing: an nvcc that does not go with this g++ must not end the build of everything else.
 * @param {string} nvcc @param {string} cxx
 */
async function compiles(nvcc, cxx) {
  const stamp = join(buildDir, ".nvcc-compiles");
  const asked = digest([], [nvcc, cxx]);
  if (stampIs(stamp, asked)) return true;
  const folder = mkdtempSync(join(tmpdir(), "opswap-nvcc-"));
  const source = join(folder, "empty.cu");
  writeFileSync(source, "#include <cuda_runtime.h>\n__global__ void empty() {}\n");
  const target = ["-gencode", "arch=compute_90a,code=sm_90a"];
  const args = ["-std=c++20", "-ccbin", cxx, ...target, "-c", source, "-o", join(folder, "empty.o")];
  const done = (await probe(nvcc, args)) !== null;
  rmSync(folder, { recursive: true, force: true });
  if (done) writeStamp(stamp, asked);
  return done;
}

/** @param {import("./python.mjs").Python} python @returns {Promise<string>} */
async function findWorking(python) {
  const nvcc = (await installed()) ?? wheelProgram(await ensureEnv("cuda", python), "nvcc");
  const cxx = await findCompiler();
  if (!(await compiles(nvcc, cxx)))
    throw new SetupError(
      `${nvcc} cannot compile for sm_90a with ${cxx}; see ${nvcc} -ccbin ${cxx} --version`,
    );
  return nvcc;
}

/**
 * @param {import("./python.mjs").Python} python
 * @returns {Promise<string | null>} path of nvcc, or null: build without CUDA
 */
export async function findNvcc(python) {
  const wanted = process.env.OPSWAP_CUDA || "auto";
  if (!["auto", "on", "off"].includes(wanted))
    throw new SetupError(`OPSWAP_CUDA is "${wanted}", needs on, off or auto`);
  if (wanted === "off") return null;
  try {
    return await findWorking(python);
  } catch (error) {
    if (!(error instanceof SetupError) || wanted === "on") throw error;
    const reason = error.message.split("\n", 1)[0];
    say(`  no CUDA kernels in this build: ${reason} (OPSWAP_CUDA=off leaves them out)`);
    return null;
  }
}

/** What reads machine code: nvcc's neighbour, or that of env/sass.lock. @param {string} nvcc @param {import("./python.mjs").Python} python */
export async function findCuobjdump(nvcc, python) {
  const neighbour = join(dirname(nvcc), "cuobjdump");
  return existsSync(neighbour) ? neighbour : wheelProgram(await ensureEnv("sass", python), "cuobjdump");
}

/** @param {string} log of one compilation @returns {{ seconds: number, megabytes: number } | null} */
export function costOf(log) {
  const found = /^cost: ([\d.]+) s of CPU, (\d+) MB$/m.exec(log);
  return found === null ? null : { seconds: Number(found[1]), megabytes: Number(found[2]) };
}

/** What the compilations of the kernels took, from the logs beside their objects. */
export function sayCosts() {
  const folder = join(nativeWork, "sm90");
  const logs = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".ptxas")) : [];
  const costs = logs.flatMap((name) => {
    const cost = costOf(readFileSync(join(folder, name), "utf8"));
    return cost === null ? [] : [{ ...cost, name: name.replace(".ptxas", "") }];
  });
  const [largest] = costs.sort((a, b) => b.megabytes - a.megabytes);
  if (largest === undefined) return;
  const sum = Math.round(costs.reduce((all, cost) => all + cost.seconds, 0));
  say(
    `  CUDA kernels: ${costs.length} compilations, ${sum} s of CPU, at most ${largest.megabytes} MB (${largest.name})`,
  );
}
