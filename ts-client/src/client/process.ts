/** When a process started: with its pid it names a process for good, since pids are used again. */
import { readFileSync } from "node:fs";

/**
 * Start time of a process in clock ticks since boot; null when it has ended, even if nobody waited for it yet. With the pid it names a
 * process for good: pids are used again, the pair is not.
 */
export function startTime(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The command name may hold blanks and brackets, so count from the last bracket: field 22 is the 20th after it.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? null : (fields[19] ?? null);
  } catch {
    return null;
  }
}
