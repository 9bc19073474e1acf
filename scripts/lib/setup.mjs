// Everything between a fresh clone and something that runs, in order; each part does nothing when it is up to date.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findCompiler } from "./compiler.mjs";
import { findNvcc, sayCosts } from "./cuda.mjs";
import { ensureEnv } from "./envs.mjs";
import { generate } from "./generate.mjs";
import { withLock } from "./mutex.mjs";
import { buildNative, buildPython } from "./native.mjs";
import { ensureNodeModules } from "./node-modules.mjs";
import { buildDir, pythonDir } from "./paths.mjs";
import { engineObstacle, findPython } from "./python.mjs";
import { buildTypeScript } from "./typescript.mjs";
import { SetupError } from "./ui.mjs";

/**
 * @typedef {object} Workshop
 * @property {import("./python.mjs").Python} python
 * @property {string} tools folder of the tools environment
 * @property {string | null} nvcc null: the build has no CUDA kernels
 */

/** Finds what must be there already, then makes the tools and the node packages. @returns {Promise<Workshop>} */
export async function prepare() {
  const python = await findPython();
  await findCompiler();
  await ensureNodeModules();
  const tools = await ensureEnv("tools", python);
  record("tools", tools);
  return { python, tools, nvcc: await findNvcc(python) };
}

/**
 * Tells the command line where the environments are (build/environments.json).
 * @param {"tools" | "engine" | "sglang"} name
 * @param {string} folder
 */
function record(name, folder) {
  const file = join(buildDir, "environments.json");
  const known = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
  if (known[name] === folder) return;
  mkdirSync(buildDir, { recursive: true });
  writeFileSync(file, `${JSON.stringify({ ...known, [name]: folder }, null, 2)}\n`);
}

/** Builds the library, its bindings, the Python package and dist/. @returns {Promise<Workshop>} */
export async function build() {
  const workshop = await prepare();
  await withLock(join(buildDir, ".lock"), "build", async () => {
    await generate(workshop.tools);
    if (await buildNative(workshop.tools, workshop.nvcc)) sayCosts();
    await buildPython(workshop.tools);
    await buildTypeScript();
  });
  return workshop;
}

/**
 * Folder of an engine's environment; refused where this machine's Python is too old for it.
 * @param {Workshop} workshop @param {import("./python.mjs").Engine} [name] vLLM's or SGLang's, which has a torch of its own
 */
export async function engineEnv(workshop, name = "engine") {
  const obstacle = engineObstacle(workshop.python, name);
  if (obstacle !== null) throw new SetupError(obstacle);
  const folder = await ensureEnv(name, workshop.python);
  record(name, folder);
  return folder;
}

/**
 * Environment variables for Python processes that import opswap, and for the CLI that starts some.
 * @param {string} folder of a Python environment
 * @returns {NodeJS.ProcessEnv}
 */
export function pythonEnv(folder) {
  const inherited = process.env.PYTHONPATH ? [process.env.PYTHONPATH] : [];
  const PYTHONPATH = [pythonDir, ...inherited].join(":");
  // Without bytecode an engine's imports take twice as long, in each of its processes; the environment is ours to write.
  const PYTHONDONTWRITEBYTECODE = "";
  return { ...process.env, PYTHONPATH, PYTHONDONTWRITEBYTECODE, OPSWAP_PYTHON: join(folder, "bin/python") };
}
