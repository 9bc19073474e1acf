// A wheel for each Python around the library of build/native; auditwheel gives each its manylinux tag and changes no file in it.
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { delimiter, join } from "node:path";
import { compileEnv } from "../cmake.mjs";
import { ensureEnv } from "../envs.mjs";
import { logged, probe } from "../exec.mjs";
import { buildDir, nativeDir, root } from "../paths.mjs";
import { SetupError, step } from "../ui.mjs";
import { checkWheel } from "./wheel-contents.mjs";

/** @typedef {import("../python.mjs").Python} Python */

/** The commit's time, so that one commit gives one wheel; 1980, the oldest that a zip file knows, outside a checkout. */
async function sourceDate() {
  const committed = await probe("git", ["-C", root, "log", "-1", "--format=%ct"]);
  return process.env.SOURCE_DATE_EPOCH || committed || "315532800";
}

/** @param {string} folder */
function onlyWheel(folder) {
  const [name, ...more] = readdirSync(folder).filter((file) => file.endsWith(".whl"));
  if (name === undefined || more.length > 0)
    throw new SetupError(`${folder} needs one wheel, has ${more.length + (name ? 1 : 0)}`);
  return name;
}

/** @param {string} name @param {string} environment @param {string[]} args of Python @param {NodeJS.ProcessEnv} env @param {{ note(text: string): void }} progress */
function run(name, environment, args, env, progress) {
  return logged(name, join(environment, "bin/python"), args, { env, progress });
}

/**
 * What pip is told beside what to build.
 * @param {string} work @param {string} sbom
 */
function settings(work, sbom) {
  const pairs = {
    "build-dir": join(work, "build"),
    "cmake.define.OPSWAP_SBOM": sbom,
    "cmake.define.OPSWAP_PREBUILT_LIB": join(nativeDir, "libopswap.so"),
  };
  return Object.entries(pairs).flatMap(([name, value]) => ["-C", `${name}=${value}`]);
}

/** @param {string} environment @param {string} tools @returns {Promise<NodeJS.ProcessEnv>} */
async function wheelEnv(environment, tools) {
  const compiling = await compileEnv(tools);
  const PATH = [join(environment, "bin"), compiling.PATH].join(delimiter);
  return { ...compiling, PATH, SOURCE_DATE_EPOCH: await sourceDate() };
}

/**
 * @param {Python} python @param {import("../setup.mjs").Workshop} workshop @param {{ out: string, sbom: string }} what
 * @returns {Promise<string>} the wheel's file name
 */
async function makeWheel(python, workshop, { out, sbom }) {
  const environment = await ensureEnv("package", python, workshop.python);
  const work = join(buildDir, `packages-work/python3.${python.minor}`);
  const [raw, tagged] = [join(work, "raw"), join(work, "tagged")];
  for (const folder of [raw, tagged]) rmSync(folder, { recursive: true, force: true });
  mkdirSync(tagged, { recursive: true });
  const env = await wheelEnv(environment, workshop.tools);
  const args = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", raw];
  await step(`wheel for Python 3.${python.minor}`, async (progress) => {
    await run("wheel", environment, [...args, ...settings(work, sbom), root], env, progress);
    const repair = ["-m", "auditwheel", "repair", "--only-plat", "--wheel-dir", tagged];
    await run("auditwheel", environment, [...repair, join(raw, onlyWheel(raw))], env, progress);
    await checkWheel(join(tagged, onlyWheel(tagged)), {
      python: python.path,
      work: join(work, "unpacked"),
      out,
    });
  });
  return onlyWheel(tagged);
}

/**
 * @param {import("../setup.mjs").Workshop} workshop @param {Python[]} pythons @param {{ out: string, sbom: string }} what
 * @returns {Promise<string[]>} the file names in `out`
 */
export async function makeWheels(workshop, pythons, what) {
  const names = [];
  for (const python of pythons) names.push(await makeWheel(python, workshop, what));
  return names;
}
