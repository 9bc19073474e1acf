// Which suite a Python test belongs to, by its path.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { root } from "./paths.mjs";

/** The suite of a Python test: the first that fits its path below test/; one that fits none needs no framework. */
const PLACES = {
  "emulated-torch": /(^|\/)test_emulated_torch\w*\.py$/,
  "emulated-arrays": /^ops\/test_emulated_arrays\.py$/,
  emulated: /^ops\/test_emulated\w*\.py$/,
  mpi: /(^|\/)test_mpi_\w+\.py$/,
  torch: /(^|\/)test_torch_\w+\.py$/,
  // Whatever engine an environment has; "vllm" and "sglang" run these too.
  adapters: /^adapters\/common\/test_every_\w+\.py$/,
  "sglang-engine": /^adapters\/sglang\/test_engine_\w+\.py$/,
  sglang: /^adapters\/sglang\//,
  vllm: /^adapters\//,
  loaders: /^loaders\//,
  static: /^static\//,
  "host-paths": /^(gpu|roofline)\//,
  ray: /(^|\/)test_ray_\w+\.py$/,
  package: /^package\//,
  fast: /./,
};
/** @typedef {keyof typeof PLACES} Place */

/** @param {Place} place @returns {string[]} */
export function pythonTests(place) {
  const names = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" });
  const tests = names.filter((name) => /(^|\/)test_\w+\.py$/.test(name)).sort();
  const placeOf = (/** @type {string} */ name) =>
    Object.entries(PLACES).find(([, fits]) => fits.test(name))?.[0];
  return tests.filter((name) => placeOf(name) === place).map((name) => `test/${name}`);
}
