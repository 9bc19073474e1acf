// The native library, the addon and the Python package, each rebuilt only when its sources changed.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { delimiter, join } from "node:path";
import { findCompiler } from "./compiler.mjs";
import { digest, stampIs, writeStamp } from "./digest.mjs";
import { logged } from "./exec.mjs";
import { buildDir, nativeDir, pythonDir, root } from "./paths.mjs";
import { step } from "./ui.mjs";

/** @param {string} tools the tools environment's folder */
async function buildEnv(tools) {
  const cxx = await findCompiler();
  return {
    CXX: cxx,
    PATH: `${join(tools, "bin")}${delimiter}${process.env.PATH}`,
    PYTHONDONTWRITEBYTECODE: "1",
  };
}

/**
 * CMake itself is incremental; it starts afresh when what it was configured with has changed.
 * @param {string} folder
 * @param {string[]} facts
 */
function dropStaleConfiguration(folder, facts) {
  const stamp = join(folder, ".configured-with");
  const wanted = digest([], facts);
  const configured = existsSync(join(folder, "build.ninja"));
  if (!configured || !stampIs(stamp, wanted)) rmSync(folder, { recursive: true, force: true });
  writeStamp(stamp, wanted);
}

/**
 * libopswap.so and opswap.node, through cmake-js.
 * @param {string} tools
 * @param {string | null} nvcc null: without CUDA kernels
 * @returns {Promise<boolean>} whether there was anything to do
 */
export async function buildNative(tools, nvcc) {
  const stamp = join(nativeDir, ".built-from");
  const env = await buildEnv(tools);
  const defines = [
    `OPSWAP_PYTHON=${join(tools, "bin/python")}`,
    `CMAKE_LIBRARY_OUTPUT_DIRECTORY=${nativeDir}`,
    ...(nvcc === null ? ["OPSWAP_CUDA=off"] : ["OPSWAP_CUDA=on", `OPSWAP_NVCC=${nvcc}`]),
  ];
  const facts = [...defines, env.CXX, root];
  const wanted = digest(["native", "kernels", "evidence", "package.json", "package-lock.json"], facts);
  if (stampIs(stamp, wanted) && existsSync(join(nativeDir, "opswap.node"))) return false;
  dropStaleConfiguration(nativeDir, facts);
  const args = [
    join(root, "node_modules/cmake-js/bin/cmake-js"),
    "build",
    "-d",
    join(root, "native"),
    "-O",
    nativeDir,
  ];
  args.push("--parallel", String(availableParallelism()), ...defines.map((define) => `--CD${define}`));
  await step("native library and addon", (progress) =>
    logged("native", process.execPath, args, { env, progress }),
  );
  writeStamp(stamp, wanted);
  return true;
}

/**
 * The Python package `opswap` in build/python, with its entry points, around the library built above.
 * @param {string} tools
 */
export async function buildPython(tools) {
  const stamp = join(buildDir, ".python-built-from");
  const inputs = ["pyproject.toml", "native", "kernels", "adapters", "ipc", "package.json"];
  const wanted = digest(inputs, [tools, root, readFileSync(join(nativeDir, ".built-from"), "utf8")]);
  if (stampIs(stamp, wanted) && existsSync(join(pythonDir, "opswap"))) return;
  const fresh = `${pythonDir}.unfinished`;
  rmSync(fresh, { recursive: true, force: true });
  const args = [
    "-m",
    "pip",
    "install",
    "--quiet",
    "--no-deps",
    "--no-build-isolation",
    "--no-compile",
    "--target",
    fresh,
  ];
  args.push("-C", `build-dir=${join(buildDir, "python-work")}`);
  args.push("-C", `cmake.define.OPSWAP_PREBUILT_LIB=${join(nativeDir, "libopswap.so")}`, root);
  const env = await buildEnv(tools);
  await step("Python package", (progress) =>
    logged("python-package", join(tools, "bin/python"), args, { env, progress }),
  );
  replaceFolder(fresh, pythonDir);
  writeStamp(stamp, wanted);
}

/** @param {string} fresh @param {string} place */
function replaceFolder(fresh, place) {
  const old = `${place}.old`;
  rmSync(old, { recursive: true, force: true });
  mkdirSync(place, { recursive: true });
  renameSync(place, old);
  renameSync(fresh, place);
  rmSync(old, { recursive: true, force: true });
}
