// Child processes: one that answers with its output, one that logs to a file and shows its last line.
import { execFile, spawn } from "node:child_process";
import { createWriteStream, mkdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { logDir, root } from "./paths.mjs";
import { SetupError } from "./ui.mjs";

/**
 * Output of a short command, or null when it cannot be run or fails.
 * @param {string} command
 * @param {string[]} args
 * @returns {Promise<string | null>}
 */
export function probe(command, args) {
  return new Promise((done) => {
    execFile(command, args, { timeout: 30_000 }, (error, stdout) => done(error ? null : stdout.trim()));
  });
}

/** @param {string} file @param {number} count */
function lastLines(file, count) {
  return readFileSync(file, "utf8").trimEnd().split("\n").slice(-count).join("\n");
}

/**
 * Children are ended with us: an interrupted set-up must leave nothing running.
 * @param {import("node:child_process").ChildProcess} child
 * @param {boolean} [group] with all that it started, where it was started as the leader of a group
 */
export function endWithParent(child, group = false) {
  const stop = () => {
    if (!group || child.pid === undefined) return child.kill("SIGTERM");
    try {
      process.kill(-child.pid, "SIGTERM");
    } catch {
      // The whole group has ended already.
    }
  };
  process.once("exit", stop);
  child.once("close", () => process.removeListener("exit", stop));
}

/**
 * Runs a command with its output in build/logs/NAME.log; on failure the last lines are part of the error.
 * @param {string} name
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, progress?: { note(text: string): void } }} [options]
 */
export async function logged(name, command, args, options = {}) {
  mkdirSync(logDir, { recursive: true });
  const file = join(logDir, `${name}.log`);
  const log = createWriteStream(file);
  log.write(`$ ${[command, ...args].join(" ")}\n`);
  const env = { ...process.env, ...options.env };
  const child = spawn(command, args, { cwd: options.cwd ?? root, env, stdio: ["ignore", "pipe", "pipe"] });
  endWithParent(child);
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      log.write(chunk);
      options.progress?.note(String(chunk).trim().split("\n").at(-1) ?? "");
    });
  }
  const code = await exitOf(child);
  await new Promise((done) => log.end(done));
  if (code === 0) return;
  throw new SetupError(
    `${name} failed (${code}); last lines of ${relative(root, file)}:\n${lastLines(file, 30)}`,
  );
}

/**
 * Exit code of a child; the signal's name when it was ended by one, the error's code when it never started.
 * @param {import("node:child_process").ChildProcess} child
 * @returns {Promise<number | string>}
 */
export function exitOf(child) {
  return new Promise((done) => {
    child.once("error", (error) => done(/** @type {NodeJS.ErrnoException} */ (error).code ?? error.message));
    child.once("close", (code, signal) => done(code ?? signal ?? "unknown"));
  });
}
