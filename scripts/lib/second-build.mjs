// A second build of the library, for tests of builds that are registered into a running engine: one op, right and slow.
import { delimiter, join } from "node:path";
import { compileEnv } from "./cmake.mjs";
import { logged } from "./exec.mjs";
import { buildDir, root } from "./paths.mjs";
import { step } from "./ui.mjs";

const OP = "silu_and_mul";
/** @type {Promise<string> | undefined} */
let library;

/**
 * Suites that ask at one time get the same one.
 * @param {string} tools folder of the tools environment
 * @returns {Promise<string>} path of the library
 */
export function buildSecond(tools) {
  library ??= build(tools);
  return library;
}

/** @param {string} tools */
async function build(tools) {
  const folder = join(buildDir, "second-build");
  const PYTHONPATH = ["test", "native"].map((part) => join(root, part)).join(delimiter);
  const env = { ...(await compileEnv(tools)), PYTHONPATH };
  const args = [join(root, "test/second_build.py"), folder, OP];
  await step(`second build with ${OP}`, (progress) =>
    logged("second-build", join(tools, "bin/python"), args, { env, progress }),
  );
  return join(folder, "out/libopswap.so");
}
