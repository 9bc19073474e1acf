// How long a command takes, and its largest resident memory.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";

const POLL_MS = 10;

/** Largest resident memory so far. @param {number} pid */
function peakOf(pid) {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** @param {string} command @param {string[]} args @returns {Promise<{ seconds: number, peak: number }>} */
export function timed(command, args) {
  return new Promise((done, fail) => {
    const started = performance.now();
    const child = spawn(command, args, { stdio: ["ignore", "ignore", "inherit"] });
    let peak = 0;
    const poll = setInterval(() => {
      peak = Math.max(peak, peakOf(child.pid ?? 0));
    }, POLL_MS);
    child.on("close", (code) => {
      clearInterval(poll);
      const seconds = (performance.now() - started) / 1000;
      if (code === 0) done({ seconds, peak });
      else fail(new Error(`${command} ${args.join(" ")} ended with ${code}`));
    });
  });
}
