// The Python tests against a wheel: unpacked, in the tools environment of its Python, in place of build/python.
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ensureEnv } from "../envs.mjs";
import { buildDir, distDir, packagesDir } from "../paths.mjs";
import { pytest } from "../runners.mjs";
import { SetupError } from "../ui.mjs";
import { unpack } from "./wheel-contents.mjs";

/** @typedef {import("../python.mjs").Python} Python */

/** @param {Python} python */
async function unpackedFor({ minor, path }) {
  const wheel = readdirSync(packagesDir).find((name) => name.includes(`-cp3${minor}-`));
  if (wheel === undefined) throw new SetupError(`build/packages has no wheel for Python 3.${minor}`);
  const folder = join(buildDir, `packages-work/python3.${minor}/tested`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await unpack(path, join(packagesDir, wheel), folder);
  return folder;
}

/**
 * @param {Python} python @param {import("../setup.mjs").Workshop} workshop
 * @param {string[]} args tests @param {import("../runners.mjs").Log} log
 */
export async function testWheel(python, workshop, args, log) {
  const environment = await ensureEnv("tools", python, workshop.python);
  // A wheel brings no command line; that of this checkout stands beside it, as an installed tarball would.
  const OPSWAP_CLI = join(distDir, "opswap.cjs");
  const variables = { PYTHONPATH: await unpackedFor(python), OPSWAP_CLI };
  const name = `wheel-3.${python.minor}`;
  return pytest(log, name, { environment, tools: workshop.tools, args, variables });
}
