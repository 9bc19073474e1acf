// `npm start`: set-up, the model, real vLLM with opswap, a question, a live switch; `-- --once` ends after that.
import { join } from "node:path";
import { ensureModel } from "./lib/model.mjs";
import { buildDir, distDir, logDir, pythonDir } from "./lib/paths.mjs";
import { build, engineEnv } from "./lib/setup.mjs";
import { runMain, SetupError, say, step } from "./lib/ui.mjs";

/** @returns {Promise<typeof import("../ts-client/src/demo/index.js")>} */
function loadDemo() {
  return import(join(distDir, "demo/index.js"));
}

await runMain(async () => {
  const engine = await engineEnv(await build());
  const model = await ensureModel(engine);
  const setup = { engine, packages: pythonDir, model, log: join(logDir, "vllm-serve.log") };
  const { runDemo, DemoError } = await loadDemo();
  const output = {
    say: (/** @type {string} */ line) => console.log(line),
    /** @template T @param {string} label @param {(note: (line: string) => void) => Promise<T>} work */
    step: (label, work) => step(label, (progress) => work((line) => progress.note(line))),
  };
  try {
    await runDemo(setup, process.argv.includes("--once"), output);
  } catch (error) {
    throw error instanceof DemoError ? new SetupError(error.message) : error;
  }
  say(`  done; logs are in ${buildDir}/logs`);
});
