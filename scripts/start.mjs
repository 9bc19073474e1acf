// `npm start`: set-up, the model, real vLLM with opswap, a question, a live switch; `-- --once` ends after that, and
// `-- --engine sglang` does it with SGLang.
import { delimiter, join } from "node:path";
import { parseArgs } from "node:util";
import { ensureModel } from "./lib/model.mjs";
import { buildDir, distDir, logDir, pythonDir, root } from "./lib/paths.mjs";
import { build, engineEnv } from "./lib/setup.mjs";
import { runMain, SetupError, say, step } from "./lib/ui.mjs";

/** @returns {Promise<typeof import("../ts-client/src/demo/index.js")>} */
function loadDemo() {
  return import(join(distDir, "demo/index.js"));
}

/** @returns {{ name: string, once: boolean }} */
function asked() {
  const options = /** @type {const} */ ({
    engine: { type: "string", default: "vllm" },
    once: { type: "boolean" },
  });
  const { engine, once = false } = parseArgs({ options }).values;
  if (engine === "vllm" || engine === "sglang") return { name: engine, once };
  throw new SetupError(`--engine: expected vllm or sglang, got ${engine}`);
}

/** A stock SGLang does not start on a CPU; what helps it is part of the tests. */
function onCpu() {
  const PYTHONPATH = [pythonDir, join(root, "test/adapters/sglang/rig")].join(delimiter);
  return { SGLANG_PLUGINS: "opswap,opswap_cpu_rig", PYTHONPATH };
}

await runMain(async () => {
  const { name, once } = asked();
  const sglang = name === "sglang";
  const engine = await engineEnv(await build(), sglang ? "sglang" : "engine");
  const model = await ensureModel(engine);
  const { runDemo, DemoError, SGLANG } = await loadDemo();
  const setup = {
    ...(sglang && { launch: SGLANG, env: onCpu() }),
    engine,
    packages: pythonDir,
    model,
    log: join(logDir, `${name}-serve.log`),
  };
  const output = {
    say: (/** @type {string} */ line) => console.log(line),
    /** @template T @param {string} label @param {(note: (line: string) => void) => Promise<T>} work */
    step: (label, work) => step(label, (progress) => work((line) => progress.note(line))),
  };
  try {
    await runDemo(setup, once, output);
  } catch (error) {
    throw error instanceof DemoError ? new SetupError(error.message) : error;
  }
  say(`  done; logs are in ${buildDir}/logs`);
});
