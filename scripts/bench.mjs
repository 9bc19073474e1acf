// `npm run bench`: lists the benchmarks; `npm run bench -- NAME [ARGS]` runs one. Each prints JSON.
import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
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
  const engine = await engineEnv(workshop);
  // The peer has an environment of its own, which only benchmarks install.
  const peer = await ensureEnv("bench", workshop.python);
  const command = file.ext === ".py" ? join(engine, "bin/python") : process.execPath;
  const env = { ...pythonEnv(engine), OPSWAP_PEER_PYTHON: join(peer, "bin/python") };
  const child = spawn(command, [join(folder, file.base), ...args], { cwd: root, env, stdio: "inherit" });
  endWithParent(child);
  return Number(await exitOf(child)) || 0;
});
