// `npm run versions -- python`: the fast Python tests, whole, against the wheel of each Python of this machine.
import { makePackages } from "../package/packages.mjs";
import { testWheel } from "../package/wheel-tests.mjs";
import { everyPython } from "../python.mjs";
import { pythonTests } from "../python-tests.mjs";
import { timedSuite } from "../timed-suite.mjs";

/** @param {import("../setup.mjs").Workshop} workshop @returns {Promise<import("../timed-suite.mjs").Row[]>} */
export async function run(workshop) {
  await makePackages(workshop);
  const rows = [];
  for (const python of await everyPython(workshop.python)) {
    const what = { runtime: `Python ${python.version}`, suite: "Python, fast" };
    rows.push(await timedSuite(what, (log) => testWheel(python, workshop, pythonTests("fast"), log)));
  }
  return rows;
}
