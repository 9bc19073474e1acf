// The native library, the addon and the Python package, each rebuilt only when its sources changed. A build is made
// beside what is there, which stays until the new one is whole; both may be moved with their checkout.
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { compileEnv, dropStaleConfiguration } from "./cmake.mjs";
import { digest, stampIs, writeStamp } from "./digest.mjs";
import { logged, probe } from "./exec.mjs";
import { replaceFolder } from "./folders.mjs";
import { buildDir, nativeDir, nativeWork, pythonDir, root } from "./paths.mjs";
import { step } from "./ui.mjs";

const PRODUCTS = ["libopswap.so", "opswap.node"];

/**
 * What made the library, in words that are the same wherever checkout and cache lie.
 * @param {string} cxx @param {string} tools @param {string | null} nvcc
 */
async function makers(cxx, tools, nvcc) {
  const compiler = await probe(cxx, ["--version"]);
  const cuda = nvcc === null ? "without CUDA" : await probe(nvcc, ["--version"]);
  return [compiler ?? cxx, cuda ?? "", basename(tools), process.arch];
}

/**
 * libopswap.so and opswap.node, through cmake-js.
 * @param {string} tools the tools environment's folder
 * @param {string | null} nvcc null: without CUDA kernels
 * @returns {Promise<boolean>} whether there was anything to do
 */
export async function buildNative(tools, nvcc) {
  const stamp = join(nativeDir, ".built-from");
  const env = await compileEnv(tools);
  const made = await makers(env.CXX ?? "", tools, nvcc);
  const wanted = digest(["native", "kernels", "evidence", "package.json", "package-lock.json"], made);
  if (stampIs(stamp, wanted) && PRODUCTS.every((name) => existsSync(join(nativeDir, name)))) return false;
  const defines = [
    `OPSWAP_PYTHON=${join(tools, "bin/python")}`,
    `CMAKE_LIBRARY_OUTPUT_DIRECTORY=${nativeWork}`,
    ...(nvcc === null ? ["OPSWAP_CUDA=off"] : ["OPSWAP_CUDA=on", `OPSWAP_NVCC=${nvcc}`]),
  ];
  dropStaleConfiguration(nativeWork, [...defines, ...made, String(env.CMAKE_CXX_COMPILER_LAUNCHER)]);
  const cmakeJs = join(root, "node_modules/cmake-js/bin/cmake-js");
  const args = [cmakeJs, "build", "-d", join(root, "native"), "-O", nativeWork];
  args.push("--parallel", String(availableParallelism()), ...defines.map((define) => `--CD${define}`));
  await step("native library and addon", (progress) =>
    logged("native", process.execPath, args, { env, progress }),
  );
  publish();
  writeStamp(stamp, wanted);
  return true;
}

/** A process that has the old library open keeps it: the new file takes its name. */
function publish() {
  mkdirSync(nativeDir, { recursive: true });
  for (const name of PRODUCTS) {
    const fresh = join(nativeDir, `${name}.unfinished`);
    copyFileSync(join(nativeWork, name), fresh);
    renameSync(fresh, join(nativeDir, name));
  }
}

/**
 * The Python package `opswap` in build/python, with its entry points, around the library built above.
 * @param {string} tools
 */
export async function buildPython(tools) {
  const stamp = join(buildDir, ".python-built-from");
  const inputs = [
    "pyproject.toml",
    "LICENSE",
    "NOTICE",
    "native",
    "kernels",
    "adapters",
    "ipc",
    "package.json",
  ];
  const wanted = digest(inputs, [basename(tools), readFileSync(join(nativeDir, ".built-from"), "utf8")]);
  if (stampIs(stamp, wanted) && existsSync(join(pythonDir, "opswap"))) return;
  const fresh = `${pythonDir}.unfinished`;
  rmSync(fresh, { recursive: true, force: true });
  const args = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-compile"];
  args.push("--target", fresh, "-C", `build-dir=${join(buildDir, "python-work")}`);
  args.push("-C", `cmake.define.OPSWAP_PREBUILT_LIB=${join(nativeDir, "libopswap.so")}`, root);
  const env = await compileEnv(tools);
  await step("Python package", (progress) =>
    logged("python-package", join(tools, "bin/python"), args, { env, progress }),
  );
  replaceFolder(fresh, pythonDir);
  writeStamp(stamp, wanted);
}
