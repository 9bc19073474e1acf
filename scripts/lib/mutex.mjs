// A lock that two clones, or two commands in one clone, wait for: a folder with its owner's process id in it.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { say } from "./ui.mjs";

const POLL_MS = 500;
/** A folder without an owner file is one whose owner died, or is about to write it. */
const GRACE_MS = 5_000;

/** Process ids are reused, so the start time goes with it. @param {number} pid */
function startTime(pid) {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ")[19] ?? "gone";
  } catch {
    return "gone";
  }
}

/** @param {string} folder @returns {{ host: string, pid: number, started: string } | null} */
function ownerOf(folder) {
  try {
    return JSON.parse(readFileSync(join(folder, "owner.json"), "utf8"));
  } catch {
    return null;
  }
}

/** @param {string} folder */
function tryTake(folder) {
  try {
    mkdirSync(folder);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== "EEXIST") throw error;
    return false;
  }
  const owner = { host: hostname(), pid: process.pid, started: startTime(process.pid) };
  writeFileSync(join(folder, "owner.json"), JSON.stringify(owner));
  return true;
}

/** @param {string} folder @param {number} waited milliseconds */
function isAbandoned(folder, waited) {
  const owner = ownerOf(folder);
  if (owner === null) return waited > GRACE_MS;
  return owner.host === hostname() && startTime(owner.pid) !== owner.started;
}

/** @param {string} folder @param {string} what */
async function take(folder, what) {
  mkdirSync(dirname(folder), { recursive: true });
  for (let waited = 0; !tryTake(folder); waited += POLL_MS) {
    if (isAbandoned(folder, waited)) {
      rmSync(folder, { recursive: true, force: true });
      continue;
    }
    if (waited === 2 * POLL_MS)
      say(`  ${what}: waiting for process ${ownerOf(folder)?.pid ?? "?"}, which is making it`);
    await sleep(POLL_MS);
  }
}

/**
 * @template T
 * @param {string} folder
 * @param {string} what for the line that says what is waited for
 * @param {() => Promise<T>} work
 */
export async function withLock(folder, what, work) {
  await take(folder, what);
  const release = () => rmSync(folder, { recursive: true, force: true });
  process.once("exit", release);
  try {
    return await work();
  } finally {
    process.removeListener("exit", release);
    release();
  }
}
