// libopswap with all kernels on the emulator: never shipped, for tests and the roofline.
import { dirname, join } from "node:path";
import { cmakeBuild } from "./cmake.mjs";
import { findCompiler } from "./compiler.mjs";
import { probe } from "./exec.mjs";
import { buildDir, root } from "./paths.mjs";
import { SetupError, step } from "./ui.mjs";

/** @typedef {"plain" | "thread" | "address"} Checker what the library is built to find: a sanitizer, or nothing more */

/** A library under a sanitizer holds the kernels only: instrumented CPU code takes long to compile. */
const DEFINES = {
  plain: ["OPSWAP_LEVELS="],
  thread: ["OPSWAP_LEVELS=none", "OPSWAP_SANITIZE=thread"],
  address: ["OPSWAP_LEVELS=none", "OPSWAP_SANITIZE=address"],
};
/** What a sanitizer adds to the environment of the Python that loads the library. */
const OPTIONS = {
  plain: {},
  // The threads of numpy's products hand their work over by ways that ThreadSanitizer does not know.
  thread: { TSAN_OPTIONS: "halt_on_error=1:report_signal_unsafe=0", OPENBLAS_NUM_THREADS: "1" },
  address: { ASAN_OPTIONS: "detect_leaks=0:detect_stack_use_after_return=0" },
};
/** Loaded first; libstdc++ goes along with ASan, which intercepts throws only when it finds the function at start. */
const PRELOADED = { plain: [], thread: ["libtsan.so"], address: ["libasan.so", "libstdc++.so.6"] };

/** Several suites need the same library, side by side. @type {Map<Checker, Promise<string>>} */
const built = new Map();

/**
 * @param {string} tools folder of the tools environment
 * @param {Checker} [checker]
 * @returns {Promise<string>} path of the library
 */
export function buildEmulated(tools, checker = "plain") {
  const made = built.get(checker) ?? make(tools, checker);
  built.set(checker, made);
  return made;
}

/** @param {string} tools @param {Checker} checker */
async function make(tools, checker) {
  const name = checker === "plain" ? "emulated" : `emulated-${checker}`;
  const folder = join(buildDir, name);
  const python = `OPSWAP_PYTHON=${join(tools, "bin/python")}`;
  const options = ["OPSWAP_EMULATE=ON", "OPSWAP_NODE=OFF", ...DEFINES[checker], python];
  const what = { name, source: join(root, "native"), folder, options, tools, target: "opswap" };
  await step(`library on the emulator${checker === "plain" ? "" : `, ${checker}`}`, (progress) =>
    cmakeBuild(what, progress),
  );
  return join(folder, "libopswap.so");
}

/** @param {Checker} checker */
async function preloaded(checker) {
  const cxx = await findCompiler();
  const files = [];
  for (const name of PRELOADED[checker]) {
    const file = await probe(cxx, [`-print-file-name=${name}`]);
    if (file === null || !file.includes("/")) throw new SetupError(`${cxx} has no ${name}`);
    files.push(file);
  }
  return files.join(" ");
}

/**
 * Builds the library and gives the variables with which Python loads it in place of the one in the package.
 * @param {string} tools @param {Checker} checker
 * @returns {Promise<NodeJS.ProcessEnv>}
 */
export async function emulated(tools, checker) {
  const library = await buildEmulated(tools, checker);
  return { ...OPTIONS[checker], LD_LIBRARY_PATH: dirname(library), LD_PRELOAD: await preloaded(checker) };
}
