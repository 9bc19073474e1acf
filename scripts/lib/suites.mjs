// The test suites: fast ones, those of the kernel workshop, which build for minutes, and those with an engine.
// Each runs a runner in the right environment and reads what it reported.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { delimiter, join, parse } from "node:path";
import { findCuobjdump } from "./cuda.mjs";
import { buildEmulated, emulated } from "./emulated-library.mjs";
import { ensureEnv } from "./envs.mjs";
import { endWithParent, exitOf, logged } from "./exec.mjs";
import { ensureModel } from "./model.mjs";
import { runModule } from "./modules.mjs";
import { buildDir, pythonDir, root } from "./paths.mjs";
import { engineObstacle } from "./python.mjs";
import { collect, readJUnit, total } from "./results.mjs";
import { engineEnv, pythonEnv } from "./setup.mjs";
import { say, step } from "./ui.mjs";

/** @typedef {import("./setup.mjs").Workshop} Workshop */
/** @typedef {import("./results.mjs").Results} Results */
/** @typedef {{ name: string, tier: "fast" | "workshop" | "engine", run(workshop: Workshop): Promise<Results> }} Suite */

/** Python tests that need torch, and so the engine's environment. */
const TORCH_TEST = /^adapters\/.*\/test_\w+\.py$|(^|\/)test_torch_\w+\.py$/;

/** What needs the library on the emulator. */
const HOST_PATHS = ["test/gpu", "test/roofline"];
/** Need the library on the emulator in place of the package's; those about memory run once, without a sanitizer. */
const EMULATED = {
  rooms: "test/ops/test_emulated.py",
  arrays: "test/ops/test_emulated_arrays.py",
  torch: "test/ops/test_emulated_torch.py",
};

function torchTests() {
  const names = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" });
  return names
    .filter((name) => TORCH_TEST.test(name))
    .sort()
    .map((name) => `test/${name}`);
}

/** @param {string} name */
function resultFile(name) {
  const folder = join(buildDir, "test-results");
  mkdirSync(folder, { recursive: true });
  const file = join(folder, name);
  rmSync(file, { force: true });
  return file;
}

/** @param {string} command @param {string[]} args @param {NodeJS.ProcessEnv} env */
async function visibly(command, args, env) {
  const child = spawn(command, args, { cwd: root, env, stdio: ["ignore", "inherit", "inherit"] });
  endWithParent(child);
  return exitOf(child);
}

/** @param {string} project @param {NodeJS.ProcessEnv} env */
async function vitest(project, env) {
  const file = resultFile(`vitest-${project}.json`);
  const args = [
    join(root, "node_modules/vitest/vitest.mjs"),
    "run",
    "--project",
    project,
    "--reporter=default",
  ];
  args.push(`--reporter=${join(root, "scripts/lib/vitest-reporter.mjs")}`, "--passWithNoTests");
  const code = await visibly(process.execPath, args, { ...env, OPSWAP_RESULTS: file });
  return collect(file, JSON.parse, code);
}

/** @param {string} name @param {string} environment @param {string[]} args @param {NodeJS.ProcessEnv} [more] */
async function pytest(name, environment, args, more = {}) {
  const file = resultFile(`pytest-${name}.xml`);
  const all = ["-m", "pytest", "-q", "-rs", `--junitxml=${file}`, ...args];
  const env = {
    ...pythonEnv(environment),
    PATH: `${join(environment, "bin")}${delimiter}${process.env.PATH}`,
    ...more,
  };
  return collect(file, readJUnit, await visibly(join(environment, "bin/python"), all, env));
}

/**
 * A process for each file: an engine leaves its world's groups behind.
 * @param {string} environment @param {NodeJS.ProcessEnv} variables
 */
async function pytestEachTorchFile(environment, variables) {
  const results = [];
  for (const file of torchTests()) {
    say(`  ${file}`);
    results.push(await pytest(parse(file).name, environment, [file], variables));
  }
  return total(results);
}

/**
 * @param {string} name of the CMake project test/`name` @param {string} title @param {Workshop} workshop
 * @param {string[]} options of its configuration @param {number} tests that run at a time
 */
async function ctest(name, title, { tools }, options = [], tests = 1) {
  const folder = join(buildDir, `${name}-tests`);
  const what = { name: `${name}-tests`, source: join(root, "test", name), folder, options, tools };
  await step(title, (progress) => cmakeBuild(what, progress));
  const file = resultFile(`ctest-${name}.xml`);
  const args = ["--test-dir", folder, "--output-on-failure", "--output-junit", file];
  args.push("--parallel", String(tests));
  return collect(file, readJUnit, await visibly(join(tools, "bin/ctest"), args, process.env));
}

/** @param {Workshop} workshop */
function nativeTests(workshop) {
  const python = join(workshop.tools, "bin/python");
  const options = [`OPSWAP_PYTHON=${python}`, `OPSWAP_PYTHONPATH=${pythonDir}`];
  return ctest("native", "C++ tests", workshop, options);
}

/** Gates on the compiled CUDA kernels. @param {Workshop} workshop @returns {Promise<Results>} */
async function staticGates({ tools, python, nvcc }) {
  if (nvcc === null) {
    const reason = "this build has no CUDA kernels: no nvcc, or OPSWAP_CUDA=off";
    return { passed: 0, failed: 0, skipped: [{ name: "CUDA kernels", reason }] };
  }
  const programs = { OPSWAP_NVCC: nvcc, OPSWAP_CUOBJDUMP: await findCuobjdump(nvcc, python) };
  return pytest("static", tools, ["test/static"], programs);
}

/** Prints the table of the small cases. @param {string} tools @param {string} library @returns {Promise<Results>} */
async function quickRoofline(tools, library) {
  const code = await runModule(join(tools, "bin/python"), "roofline", ["--quick", "--library", library]);
  return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: [] };
}

/** The GPU suite and the roofline with the emulator in the card's place. @param {Workshop} workshop */
async function hostPaths({ tools, nvcc }) {
  const library = await buildEmulated(tools);
  const variables = { OPSWAP_EMULATED_LIBRARY: library, ...(nvcc === null ? {} : { OPSWAP_NVCC: nvcc }) };
  const args = [...HOST_PATHS, "--ignore-glob=*/test_torch_*.py"];
  return total([await pytest("host-paths", tools, args, variables), await quickRoofline(tools, library)]);
}

/** Every room that has kernels: all cases plain, one small case of each under the sanitizers. @param {Workshop} workshop */
async function emulatedRooms({ tools }) {
  const results = [];
  for (const checker of /** @type {const} */ (["plain", "thread", "address"])) {
    const variables = await emulated(tools, checker);
    const files = checker === "plain" ? [EMULATED.rooms, EMULATED.arrays] : [EMULATED.rooms];
    results.push(await pytest(`emulated-${checker}`, tools, files, variables));
  }
  return total(results);
}

/** @param {Workshop} workshop */
async function emulatedTorch(workshop) {
  const engine = await engineEnv(workshop);
  return pytest("emulated-torch", engine, [EMULATED.torch], await emulated(workshop.tools, "plain"));
}

/** The converter's Ray driver, in an environment of its own. @param {Workshop} workshop */
async function rayDriver({ python }) {
  // Without clusters between machines Ray listens on loopback alone.
  const variables = { RAY_USAGE_STATS_ENABLED: "0", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER: "0" };
  return pytest("ray", await ensureEnv("ray", python), ["test/convert/test_ray_driver.py"], variables);
}

/** @param {Suite[]} suites those of a machine whose Python cannot run the engine are skips, with the reason */
function unlessImpossible(suites) {
  return suites.map((suite) => ({
    ...suite,
    /** @param {Workshop} workshop @returns {Promise<Results>} */
    async run(workshop) {
      const obstacle = engineObstacle(workshop.python);
      if (obstacle === null) return suite.run(workshop);
      say(`  ${suite.name}: skipped: ${obstacle}`);
      return { passed: 0, failed: 0, skipped: [{ name: suite.name, reason: obstacle }] };
    },
  }));
}

/** @returns {Suite[]} */
export function allSuites() {
  const elsewhere = ["test/adapters", "test/static", ...HOST_PATHS].map((folder) => `--ignore=${folder}`);
  elsewhere.push("--ignore-glob=*/test_torch_*.py");
  elsewhere.push("--ignore-glob=*/test_emulated*.py", "--ignore-glob=*/test_ray_*.py");
  /** @type {Suite[]} */
  const frameless = [
    { name: "TypeScript", tier: "fast", run: ({ tools }) => vitest("fast", pythonEnv(tools)) },
    { name: "Python", tier: "fast", run: ({ tools }) => pytest("fast", tools, ["test", ...elsewhere]) },
    { name: "C++", tier: "fast", run: nativeTests },
    {
      name: "Emulator",
      tier: "workshop",
      run: (workshop) => ctest("emulator", "emulator", workshop, [], availableParallelism()),
    },
    { name: "CUDA kernels", tier: "workshop", run: staticGates },
    { name: "GPU suite and roofline on the emulator", tier: "workshop", run: hostPaths },
    { name: "Rooms on the emulator", tier: "workshop", run: emulatedRooms },
    { name: "Converter on Ray", tier: "workshop", run: rayDriver },
  ];
  /** @type {Suite[]} */
  const engine = [
    { name: "Torch on the emulator", tier: "engine", run: emulatedTorch },
    {
      name: "Python with vLLM",
      tier: "engine",
      run: async (workshop) => {
        const OPSWAP_EMULATED_LIBRARY = await buildEmulated(workshop.tools);
        return pytestEachTorchFile(await engineEnv(workshop), { OPSWAP_EMULATED_LIBRARY });
      },
    },
    {
      name: "TypeScript with vLLM",
      tier: "engine",
      run: async (workshop) => {
        const engine = await engineEnv(workshop);
        const model = await ensureModel(engine);
        return vitest("engine", { ...pythonEnv(engine), OPSWAP_ENGINE_ENV: engine, OPSWAP_MODEL: model });
      },
    },
  ];
  const present = existsSync(join(root, "test/native/CMakeLists.txt")) ? frameless : frameless.slice(0, 2);
  return [...present, ...unlessImpossible(engine)];
}
