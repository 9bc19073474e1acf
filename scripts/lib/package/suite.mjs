// The suite "Packages": what was made is installed into empty environments and used there.
import { delimiter } from "node:path";
import { ensureUv } from "../envs.mjs";
import { ensureModel } from "../model.mjs";
import { everyNode } from "../nodes.mjs";
import { packagesDir } from "../paths.mjs";
import { engineObstacle, everyPython } from "../python.mjs";
import { pythonTests } from "../python-tests.mjs";
import { total } from "../results.mjs";
import { pytest, vitest } from "../runners.mjs";
import { engineEnv } from "../setup.mjs";
import { TooNewRuntime } from "./binaries.mjs";
import { makePackages } from "./packages.mjs";
import { testWheel } from "./wheel-tests.mjs";

/** A part of the fast Python tests that takes seconds: arguments, refusals, plans, agent and sidecar. */
const SOME_FAST = /^test\/(ops\/test_(arguments|refusals|plan)\.py|ipc\/)/;

/** Those against the wheels of the oldest and the newest Python; `npm run versions -- python` has all, with each. @param {import("../setup.mjs").Workshop} workshop @param {import("../runners.mjs").Log} log */
async function testEnds(workshop, log) {
  const pythons = await everyPython(workshop.python);
  const ends = new Set([pythons.at(0), pythons.at(-1)].filter((python) => python !== undefined));
  const tests = pythonTests("fast").filter((name) => SOME_FAST.test(name));
  const results = [];
  for (const python of ends) results.push(await testWheel(python, workshop, tests, log));
  return results;
}

/** Makes the packages, or says why this machine's compiler cannot: it may be too new for them. @param {import("../setup.mjs").Workshop} workshop */
async function packagesObstacle(workshop) {
  try {
    await makePackages(workshop);
    return null;
  } catch (error) {
    if (error instanceof TooNewRuntime) return error.message;
    throw error;
  }
}

/** Wheels and tarballs, installed into empty environments; what needs vLLM is skipped where it cannot run. @type {import("../suites.mjs").Suite} */
export const PACKAGES = {
  name: "Packages",
  tier: "workshop",
  gb: 4,
  async setUp(workshop) {
    const obstacle = await packagesObstacle(workshop);
    if (obstacle !== null) return obstacle;
    const variables = { OPSWAP_PACKAGES: packagesDir, OPSWAP_UV: await ensureUv(workshop.python) };
    const pythons = await everyPython(workshop.python);
    const OPSWAP_PYTHONS = pythons.map((python) => python.path).join(delimiter);
    const noEngine = engineObstacle(workshop.python);
    if (noEngine !== null) return { ...variables, OPSWAP_PYTHONS, OPSWAP_NO_ENGINE: noEngine };
    const OPSWAP_ENGINE_ENV = await engineEnv(workshop);
    return {
      ...variables,
      OPSWAP_PYTHONS,
      OPSWAP_ENGINE_ENV,
      OPSWAP_MODEL: await ensureModel(OPSWAP_ENGINE_ENV),
    };
  },
  run: async (workshop, variables, log) => {
    const { tools } = workshop;
    const args = pythonTests("package");
    const ends = await testEnds(workshop, log);
    const wheels = await pytest(log, "package", { environment: tools, tools, args, variables });
    const env = { ...process.env, ...variables };
    const nodes = await everyNode();
    const tarballs = await vitest(log, "package", env, { program: nodes[0]?.program });
    const newest = { program: nodes.at(-1)?.program, files: ["test/package/installed.test.ts"] };
    return total([...ends, wheels, tarballs, await vitest(log, "package", env, newest)]);
  },
};
