/** How many bytes a run needs on the disk, and how many are free. */
import { statfsSync } from "node:fs";
import type { Plan } from "./types.js";

/** For the journal, the report and the file system's own books. */
const SPARE = 1 << 20;
/** A line of the journal, and as much again in the report and its page. */
const PER_TENSOR = 4096;

/** Bytes that the whole run needs, and those that are free there. */
export function spaceFor(plan: Plan, folder: string): { needed: number; free: number } {
  const tensors = plan.files.reduce((count, file) => count + file.tensors.length, 0);
  const { bavail, bsize } = statfsSync(folder);
  return { needed: plan.outputBytes + SPARE + tensors * PER_TENSOR, free: bavail * bsize };
}
