import { readFileSync } from "node:fs";

/**
 * Start time of a process in clock ticks since boot, or null when there is none of this pid. With the pid it names a
 * process for good: pids are used again, the pair is not.
 */
export function startTime(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The command name may hold blanks and brackets, so count from the last bracket: field 22 is the 20th after it.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    return null;
  }
}
