// `npm run bench`: lists the benchmarks; `npm run bench -- NAME [ARGS]` runs one, which prints JSON.
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, parse } from "node:path";
import { ensureEnv } from "./lib/envs.mjs";
import { endWithParent, exitOf } from "./lib/exec.mjs";
import { root } from "./lib/paths.mjs";
import { build, engineEnv, pythonEnv } from "./lib/setup.mjs";
import { runMain, SetupError } from "./lib/ui.mjs";

const folder = join(root, "test/bench");
/** Benchmarks are files NAME.py, run with the engine's Python, or NAME.mjs; helpers start with an underscore. */
const KINDS = [".py", ".mjs"];

function benchmarks() {
  const files = existsSync(folder) ? readdirSync(folder) : [];
  return files
    .map((file) => parse(file))
    .filter(({ name, ext }) => KINDS.includes(ext) && !name.startsWith("_"));
}

/** @param {string} name @returns {import("node:path").ParsedPath} */
function chosen(name) {
  const all = benchmarks();
  const found = all.find((file) => file.name === name);
  if (found) return found;
  throw new SetupError(`no benchmark named ${name}; there are: ${all.map((file) => file.name).join(", ")}`);
}

/** The converter's peer takes torch from the engine's environment. @param {import("./lib/setup.mjs").Workshop} workshop */
async function llmcompressor(workshop) {
  return {
    OPSWAP_ENGINE_PYTHON: join(await engineEnv(workshop), "bin/python"),
    OPSWAP_LLMCOMPRESSOR_PYTHON: join(await ensureEnv("llmcompressor", workshop.python), "bin/python"),
  };
}

/**
 * Python benchmarks run in the engine's environment, and those that name the peer's Python get its environment made.
 * @param {import("node:path").ParsedPath} file
 * @param {string[]} args
 * @param {import("./lib/setup.mjs").Workshop} workshop
 */
async function hostOf(file, args, workshop) {
  if (file.ext === ".mjs") {
    const peer = args.includes("--llmcompressor") ? await llmcompressor(workshop) : {};
    return { command: process.execPath, env: { ...pythonEnv(workshop.tools), ...peer } };
  }
  const engine = await engineEnv(workshop);
  const env = pythonEnv(engine);
  const text = readFileSync(join(folder, file.base), "utf8");
  if (text.includes("OPSWAP_SGLANG_PYTHON"))
    env.OPSWAP_SGLANG_PYTHON = join(await engineEnv(workshop, "sglang"), "bin/python");
  if (text.includes("OPSWAP_PEER_PYTHON")) {
    env.OPSWAP_PEER_PYTHON = join(await ensureEnv("bench", workshop.python), "bin/python");
  }
  return { command: join(engine, "bin/python"), env };
}

await runMain(async () => {
  const [name, ...args] = process.argv.slice(2);
  if (name === undefined) {
    console.log(
      ["usage: npm run bench -- NAME [ARGS]", ...benchmarks().map((file) => `  ${file.name}`)].join("\n"),
    );
    return 0;
  }
  const file = chosen(name);
  const workshop = await build();
  const { command, env } = await hostOf(file, args, workshop);
  const child = spawn(command, [join(folder, file.base), ...args], { cwd: root, env, stdio: "inherit" });
  endWithParent(child);
  return Number(await exitOf(child)) || 0;
});
