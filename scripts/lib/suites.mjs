// The test suites: fast ones, those of the kernel workshop, which build for minutes, and those with an engine. In the
// order in which they start: what takes longest comes first, so that nothing long is left for the end.
import { rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { cmakeBuild } from "./cmake.mjs";
import { findCuobjdump } from "./cuda.mjs";
import { buildEmulated, emulated } from "./emulated-library.mjs";
import { ensureEnv } from "./envs.mjs";
import { ensureModel } from "./model.mjs";
import { runModule } from "./modules.mjs";
import { PACKAGES } from "./package/suite.mjs";
import { buildDir, nativeDir, pythonDir, root } from "./paths.mjs";
import { engineObstacle } from "./python.mjs";
import { pythonTests } from "./python-tests.mjs";
import { total } from "./results.mjs";
import { ctest, pytest, vitest } from "./runners.mjs";
import { buildSecond } from "./second-build.mjs";
import { engineEnv, pythonEnv } from "./setup.mjs";
import { step } from "./ui.mjs";

/** @typedef {import("./setup.mjs").Workshop} Workshop */
/** @typedef {import("./results.mjs").Results} Results */
/** @typedef {import("./runners.mjs").Log} Log */
/**
 * @typedef {object} Suite
 * @property {string} name
 * @property {"fast" | "workshop" | "engine"} tier
 * @property {number} gb memory that its processes take together at most
 * @property {(workshop: Workshop) => Promise<Needs | string>} setUp what `run` needs, or the reason why it is skipped
 * @property {(workshop: Workshop, needs: Needs, log: Log) => Promise<Results>} run
 */
/** @typedef {NodeJS.ProcessEnv} Needs what a set-up found, in the words of environment variables */

const NOTHING = async () => ({});

/**
 * A CMake project with tests, built and then run.
 * @param {string} name @param {string} source its folder @param {(workshop: Workshop) => string[]} options @param {number} parallel tests at a time
 * @returns {Pick<Suite, "setUp" | "run">}
 */
function cmakeSuite(name, source, options, parallel) {
  const folder = join(buildDir, `${name}-tests`);
  return {
    async setUp(workshop) {
      const { tools } = workshop;
      const what = {
        name: `${name}-tests`,
        source: join(root, source),
        folder,
        options: options(workshop),
        tools,
      };
      await step(`tests of ${source}`, (progress) => cmakeBuild(what, progress));
      return {};
    },
    run: ({ tools }, _, log) => ctest(log, { name, folder, tools, parallel }),
  };
}

/** @param {Workshop} workshop */
function nativeOptions({ tools }) {
  const python = `OPSWAP_PYTHON=${join(tools, "bin/python")}`;
  return [python, `OPSWAP_PYTHONPATH=${pythonDir}`, `OPSWAP_LIBRARY=${join(nativeDir, "libopswap.so")}`];
}

/** Gates on the compiled CUDA kernels. @type {Suite} */
const STATIC = {
  name: "CUDA kernels",
  tier: "workshop",
  gb: 1,
  async setUp({ nvcc, python }) {
    if (nvcc === null) return "this build has no CUDA kernels: no nvcc, or OPSWAP_CUDA=off";
    return { OPSWAP_NVCC: nvcc, OPSWAP_CUOBJDUMP: await findCuobjdump(nvcc, python) };
  },
  run: ({ tools }, variables, log) =>
    pytest(log, "static", { environment: tools, tools, args: pythonTests("static"), variables }),
};

/** The GPU suite and the roofline with the emulator in the card's place; prints the table of the small cases. @type {Suite} */
const HOST_PATH = {
  name: "GPU suite and roofline on the emulator",
  tier: "workshop",
  gb: 2,
  async setUp({ tools, nvcc }) {
    const library = await buildEmulated(tools);
    return { OPSWAP_EMULATED_LIBRARY: library, ...(nvcc === null ? {} : { OPSWAP_NVCC: nvcc }) };
  },
  async run({ tools }, variables, log) {
    const args = pythonTests("host-paths");
    const results = await pytest(log, "host-paths", { environment: tools, tools, args, variables });
    const table = ["--quick", "--library", variables.OPSWAP_EMULATED_LIBRARY ?? ""];
    const code = await runModule(join(tools, "bin/python"), "roofline", table, log);
    return total([
      results,
      { passed: code === 0 ? 1 : 0, failed: code === 0 ? [] : ["roofline"], skipped: [] },
    ]);
  },
};

/**
 * Every room that has kernels: all cases plain, one small case of each under a sanitizer.
 * @param {import("./emulated-library.mjs").Checker} checker @returns {Suite}
 */
function emulatedRooms(checker) {
  // What is about memory of another kind runs once, without a sanitizer.
  const args = [...pythonTests("emulated"), ...(checker === "plain" ? pythonTests("emulated-arrays") : [])];
  return {
    name: checker === "plain" ? "Rooms on the emulator" : `Rooms on the emulator, ${checker}`,
    tier: "workshop",
    gb: 3,
    setUp: ({ tools }) => emulated(tools, checker),
    run: ({ tools }, variables, log) =>
      pytest(log, `emulated-${checker}`, { environment: tools, tools, args, variables }),
  };
}

/** The converter's Ray driver, in an environment of its own. @type {Suite} */
const RAY = {
  name: "Converter on Ray",
  tier: "workshop",
  gb: 2,
  async setUp({ python }) {
    // Without clusters between machines Ray listens on loopback alone.
    const variables = { RAY_USAGE_STATS_ENABLED: "0", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER: "0" };
    return { ...variables, OPSWAP_RAY_ENV: await ensureEnv("ray", python) };
  },
  run: ({ tools }, variables, log) => {
    const environment = variables.OPSWAP_RAY_ENV ?? "";
    return pytest(log, "ray", { environment, tools, args: pythonTests("ray"), variables });
  },
};

/**
 * vLLM inspects each architecture once in a process of its own and keeps what it found in its cache; one cache for all
 * suites of a run, new in each run.
 */
const freshVllmCache = (() => {
  /** @type {string | undefined} */
  let folder;
  return () => {
    if (folder === undefined) {
      folder = join(buildDir, "test-results", "vllm-cache");
      rmSync(folder, { recursive: true, force: true });
    }
    return folder;
  };
})();

/**
 * Those of a machine whose Python cannot run the engine are skips, with the reason.
 * @param {Omit<Suite, "tier">} suite @param {import("./python.mjs").Engine} [engine] @returns {Suite}
 */
function withEngine(suite, engine = "engine") {
  return {
    ...suite,
    tier: "engine",
    async setUp(workshop) {
      const VLLM_CACHE_ROOT = freshVllmCache();
      const needs = engineObstacle(workshop.python, engine) ?? (await suite.setUp(workshop));
      return typeof needs === "string" ? needs : { ...needs, VLLM_CACHE_ROOT };
    },
  };
}

/**
 * Python tests in the engine's environment.
 * @param {import("./python-tests.mjs").Place} place @param {{ name: string, gb: number }} what
 * @param {(workshop: Workshop) => Promise<Needs>} [library] what they need built
 */
function enginePytest(place, { name, gb }, library = NOTHING) {
  return withEngine({
    name,
    gb,
    async setUp(workshop) {
      const OPSWAP_ENGINE_ENV = await engineEnv(workshop);
      return { ...(await library(workshop)), OPSWAP_ENGINE_ENV };
    },
    run: ({ tools }, variables, log) => {
      const environment = variables.OPSWAP_ENGINE_ENV ?? "";
      const args = [...(place === "vllm" ? pythonTests("adapters") : []), ...pythonTests(place)];
      return pytest(log, place, { environment, tools, args, variables });
    },
  });
}

const VLLM = enginePytest("vllm", { name: "Python with vLLM", gb: 8 });
/** The converter's layouts in the loaders of vLLM and transformers. */
const LOADERS = enginePytest("loaders", { name: "Loader matrix", gb: 4 });
const TORCH = enginePytest("torch", { name: "Python with torch", gb: 4 }, async ({ tools }) => ({
  OPSWAP_EMULATED_LIBRARY: await buildEmulated(tools),
}));
/** torch's tensors over the emulated device; another library, so a process of its own. */
const EMULATED_TORCH = enginePytest("emulated-torch", { name: "Torch on the emulator", gb: 3 }, ({ tools }) =>
  emulated(tools, "plain"),
);
/** How TensorRT-LLM's workers import a package: the engine's environment, and an MPI beside it. @type {Suite} */
const MPI = withEngine({
  name: "MPI workers",
  gb: 2,
  async setUp(workshop) {
    const OPSWAP_ENGINE_ENV = await engineEnv(workshop);
    return { OPSWAP_ENGINE_ENV, OPSWAP_MPI_ENV: await ensureEnv("mpi", workshop.python) };
  },
  run: ({ tools }, variables, log) => {
    const environment = variables.OPSWAP_ENGINE_ENV ?? "";
    return pytest(log, "mpi", { environment, tools, args: pythonTests("mpi"), variables });
  },
});

/** One `vllm serve` for all of them. */
const SERVED = withEngine({
  name: "TypeScript with vLLM",
  gb: 6,
  async setUp(workshop) {
    const engine = await engineEnv(workshop);
    const OPSWAP_SECOND_BUILD = await buildSecond(workshop.tools);
    return { OPSWAP_ENGINE_ENV: engine, OPSWAP_MODEL: await ensureModel(engine), OPSWAP_SECOND_BUILD };
  },
  run: (_, needs, log) => vitest(log, "engine", { ...pythonEnv(needs.OPSWAP_ENGINE_ENV ?? ""), ...needs }),
});

/**
 * SGLang has a torch of its own, so its tests have an environment of their own.
 * @param {import("./python-tests.mjs").Place} place @param {{ name: string, gb: number }} what
 */
function sglangPytest(place, what) {
  const suite = {
    ...what,
    setUp: async (/** @type {Workshop} */ workshop) => ({
      OPSWAP_SGLANG_ENV: await engineEnv(workshop, "sglang"),
    }),
    /** @type {Suite["run"]} */
    run: ({ tools }, variables, log) => {
      const environment = variables.OPSWAP_SGLANG_ENV ?? "";
      const args = [...(place === "sglang" ? pythonTests("adapters") : []), ...pythonTests(place)];
      return pytest(log, place, { environment, tools, args, variables });
    },
  };
  return withEngine(suite, "sglang");
}

const SGLANG = sglangPytest("sglang", { name: "Python with SGLang", gb: 6 });
/** Its ranks are processes of their own. */
const SGLANG_RANKS = sglangPytest("sglang-engine", { name: "Ranks of SGLang", gb: 6 });

/** One server of SGLang's, for what is told of every engine. */
const SGLANG_SERVED = withEngine(
  {
    name: "TypeScript with SGLang",
    gb: 6,
    async setUp(workshop) {
      const OPSWAP_ENGINE_ENV = await engineEnv(workshop, "sglang");
      const OPSWAP_SECOND_BUILD = await buildSecond(workshop.tools);
      return { OPSWAP_ENGINE_ENV, OPSWAP_MODEL: await ensureModel(OPSWAP_ENGINE_ENV), OPSWAP_SECOND_BUILD };
    },
    run: (_, needs, log) => vitest(log, "sglang", { ...pythonEnv(needs.OPSWAP_ENGINE_ENV ?? ""), ...needs }),
  },
  "sglang",
);

/** @returns {Suite[]} */
export function allSuites() {
  const all = availableParallelism();
  return [
    VLLM,
    SGLANG,
    SGLANG_SERVED,
    SGLANG_RANKS,
    { name: "Emulator", tier: "workshop", gb: 4, ...cmakeSuite("emulator", "emulator", () => [], all) },
    emulatedRooms("thread"),
    emulatedRooms("address"),
    { name: "C++", tier: "fast", gb: 3, ...cmakeSuite("native", "test/native", nativeOptions, 1) },
    {
      name: "Python",
      tier: "fast",
      gb: 2,
      setUp: NOTHING,
      run: ({ tools }, _, log) =>
        pytest(log, "fast", { environment: tools, tools, args: pythonTests("fast") }),
    },
    SERVED,
    {
      name: "TypeScript",
      tier: "fast",
      gb: 2,
      setUp: NOTHING,
      run: ({ tools }, _, log) => vitest(log, "fast", pythonEnv(tools)),
    },
    LOADERS,
    TORCH,
    emulatedRooms("plain"),
    HOST_PATH,
    PACKAGES,
    STATIC,
    EMULATED_TORCH,
    RAY,
    MPI,
  ];
}
