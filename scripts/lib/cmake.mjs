// CMake's folders below build/, and the compiler cache that clones share. A folder belongs to one place and one set of
// options; in a checkout that was moved it is made anew, which the cache makes quick. The cache is never needed.
import { existsSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { delimiter, join } from "node:path";
import { findCompiler } from "./compiler.mjs";
import { digest, stampIs, writeStamp } from "./digest.mjs";
import { logged } from "./exec.mjs";
import { cacheDir, root } from "./paths.mjs";

/** Results are keyed by the content of what is compiled; the checkout's own place is no part of the key. */
const CACHE_SETTINGS = {
  CCACHE_NOHASHDIR: "1",
  CCACHE_SLOPPINESS: "pch_defines,time_macros",
  CCACHE_DEPEND: "1",
  CCACHE_COMPILERCHECK: "content",
  CCACHE_MAXSIZE: "4G",
};

/** @param {string} tools folder of the tools environment @returns {NodeJS.ProcessEnv} OPSWAP_CCACHE=off: nothing */
function compilerCache(tools) {
  const ccache = join(tools, "bin/ccache");
  if (process.env.OPSWAP_CCACHE === "off" || !existsSync(ccache)) return {};
  const CCACHE_DIR = process.env.CCACHE_DIR || join(cacheDir(), "ccache");
  return { ...CACHE_SETTINGS, CCACHE_DIR, CCACHE_BASEDIR: root, CMAKE_CXX_COMPILER_LAUNCHER: ccache };
}

/** What compilers and CMake are told. @param {string} tools @returns {Promise<NodeJS.ProcessEnv>} */
export async function compileEnv(tools) {
  return {
    CXX: await findCompiler(),
    PATH: `${join(tools, "bin")}${delimiter}${process.env.PATH}`,
    PYTHONDONTWRITEBYTECODE: "1",
    ...compilerCache(tools),
  };
}

/**
 * CMake itself is incremental; it starts afresh when place or options are others.
 * @param {string} folder @param {string[]} options
 */
export function dropStaleConfiguration(folder, options) {
  const stamp = join(folder, ".configured-with");
  const wanted = digest([], [...options, root]);
  const configured = existsSync(join(folder, "build.ninja"));
  if (!configured || !stampIs(stamp, wanted)) rmSync(folder, { recursive: true, force: true });
  writeStamp(stamp, wanted);
}

/**
 * Configures and builds.
 * @param {object} what
 * @param {string} what.name of the logs
 * @param {string} what.source folder with the CMakeLists.txt
 * @param {string} what.folder to build in
 * @param {string[]} what.options without their -D
 * @param {string} what.tools
 * @param {string} [what.target]
 * @param {{ note(text: string): void }} progress
 */
export async function cmakeBuild({ name, source, folder, options, tools, target }, progress) {
  const env = await compileEnv(tools);
  const cmake = join(tools, "bin/cmake");
  const facts = [...options, String(env.CMAKE_CXX_COMPILER_LAUNCHER), String(env.CXX)];
  dropStaleConfiguration(folder, facts);
  const configure = ["-G", "Ninja", "-S", source, "-B", folder, ...options.map((option) => `-D${option}`)];
  await logged(`${name}-configure`, cmake, configure, { env, progress });
  const build = ["--build", folder, "--parallel", String(availableParallelism())];
  if (target !== undefined) build.push("--target", target);
  await logged(`${name}-build`, cmake, build, { env, progress });
}
