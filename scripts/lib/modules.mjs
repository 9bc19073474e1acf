// The Python programs of test/ that are commands too: `gpu`, `roofline` and `sass`.
import { spawn } from "node:child_process";
import { delimiter, join } from "node:path";
import { endWithParent, exitOf } from "./exec.mjs";
import { root } from "./paths.mjs";

const FOLDERS = ["test", "native"].map((folder) => join(root, folder));

/**
 * Runs `python -m name`, with what the caller's PYTHONPATH adds behind the project's folders.
 * @param {string} python @param {string} name @param {string[]} args
 * @param {{ fd: number }} [log] where its output goes; without it, to ours
 * @returns {Promise<number>} its exit status, 1 where a signal ended it
 */
export async function runModule(python, name, args, log) {
  const folders = [...FOLDERS, process.env.PYTHONPATH ?? ""].filter(Boolean);
  const env = { ...process.env, PYTHONPATH: folders.join(delimiter) };
  const child = spawn(python, ["-m", name, ...args], {
    cwd: root,
    env,
    stdio: log ? ["ignore", log.fd, log.fd] : "inherit",
  });
  endWithParent(child);
  const code = await exitOf(child);
  return typeof code === "number" ? code : 1;
}
