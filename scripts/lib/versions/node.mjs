// `npm run versions -- node`: the fast TypeScript tests and those of the installed tarballs, whole, under each Node.
import { everyNode } from "../nodes.mjs";
import { makePackages } from "../package/packages.mjs";
import { packagesDir } from "../paths.mjs";
import { vitest } from "../runners.mjs";
import { pythonEnv } from "../setup.mjs";
import { timedSuite } from "../timed-suite.mjs";

const PROJECTS = ["fast", "package"];

/** @param {import("../setup.mjs").Workshop} workshop @returns {Promise<import("../timed-suite.mjs").Row[]>} */
export async function run(workshop) {
  await makePackages(workshop);
  const env = { ...pythonEnv(workshop.tools), OPSWAP_PACKAGES: packagesDir };
  const rows = [];
  for (const { version, program } of await everyNode()) {
    for (const project of PROJECTS) {
      const suite = `TypeScript, ${project}`;
      rows.push(
        await timedSuite({ runtime: `Node ${version}`, suite }, (log) =>
          vitest(log, project, env, { program }),
        ),
      );
    }
  }
  return rows;
}
