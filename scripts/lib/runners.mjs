// The test runners: each is started in the right environment, writes to a suite's log, and is read from its report.
import { spawn } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { compileEnv } from "./cmake.mjs";
import { endWithParent, exitOf } from "./exec.mjs";
import { buildDir, root } from "./paths.mjs";
import { collect, readJUnit } from "./results.mjs";
import { pythonEnv } from "./setup.mjs";

/** @typedef {import("./results.mjs").Results} Results */
/** @typedef {{ fd: number }} Log where a suite's output goes */

/** @param {string} name */
function resultFile(name) {
  const folder = join(buildDir, "test-results");
  mkdirSync(folder, { recursive: true });
  const file = join(folder, name);
  rmSync(file, { force: true });
  return file;
}

/**
 * Runs in a process group of its own, which ends with us: a test that is interrupted may have started an engine.
 * @param {Log} log @param {string} command @param {string[]} args @param {NodeJS.ProcessEnv} env
 */
export async function ran({ fd }, command, args, env) {
  const child = spawn(command, args, { cwd: root, env, stdio: ["ignore", fd, fd], detached: true });
  endWithParent(child, true);
  return exitOf(child);
}

/**
 * @param {Log} log @param {string} project @param {NodeJS.ProcessEnv} env
 * @param {{ program?: string | undefined, files?: string[] }} [which] Node, this one when left out, and the files, all when left out
 * @returns {Promise<Results>}
 */
export async function vitest(log, project, env, { program = process.execPath, files = [] } = {}) {
  const file = resultFile(`vitest-${project}.json`);
  const args = [
    join(root, "node_modules/vitest/vitest.mjs"),
    "run",
    ...files,
    "--project",
    project,
    "--reporter=default",
  ];
  args.push(`--reporter=${join(root, "scripts/lib/vitest-reporter.mjs")}`, "--passWithNoTests");
  const PATH = `${dirname(program)}${delimiter}${env.PATH}`;
  const code = await ran(log, program, args, { ...env, PATH, OPSWAP_RESULTS: file });
  return collect(file, JSON.parse, code);
}

/**
 * @param {Log} log
 * @param {string} name of the report
 * @param {{ environment: string, tools: string, args: string[], variables?: NodeJS.ProcessEnv }} what
 * @returns {Promise<Results>}
 */
export async function pytest(log, name, { environment, tools, args, variables = {} }) {
  const file = resultFile(`pytest-${name}.xml`);
  const all = ["-m", "pytest", "-q", "-rs", "--durations=10", `--junitxml=${file}`, ...args];
  const compiling = await compileEnv(tools);
  const PATH = `${join(environment, "bin")}${delimiter}${compiling.PATH}`;
  const env = { ...compiling, ...pythonEnv(environment), PATH, ...variables };
  return collect(file, readJUnit, await ran(log, join(environment, "bin/python"), all, env));
}

/**
 * The tests of a CMake project that is built.
 * @param {Log} log
 * @param {{ name: string, folder: string, tools: string, parallel: number }} what
 * @returns {Promise<Results>}
 */
export async function ctest(log, { name, folder, tools, parallel }) {
  const file = resultFile(`ctest-${name}.xml`);
  const args = ["--test-dir", folder, "--output-on-failure", "--output-junit", file];
  args.push("--parallel", String(parallel));
  return collect(file, readJUnit, await ran(log, join(tools, "bin/ctest"), args, process.env));
}
