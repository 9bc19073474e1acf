import { statfsSync, statSync } from "node:fs";
import { convertError } from "./errors.js";
import type { Plan } from "./plan.js";
import type { Staging } from "./staging.js";

/** For the journal, the report and the file system's own books. */
const SPARE = 1 << 20;
/** A line of the journal, and as much again in the report and its page. */
const PER_TENSOR = 4096;

/** Bytes that the whole run needs, and those that are free there. */
export function roomFor(plan: Plan, folder: string): { needed: number; free: number } {
  const tensors = plan.files.reduce((count, file) => count + file.tensors.length, 0);
  const { bavail, bsize } = statfsSync(folder);
  return { needed: plan.outputBytes + SPARE + tensors * PER_TENSOR, free: bavail * bsize };
}

/** Refuses before the work what could not end well; what an earlier run wrote counts as there. */
export function checkRoom(plan: Plan, staging: Staging): void {
  const { needed, free } = roomFor(plan, staging.folder);
  const there = plan.files.reduce((bytes, file) => {
    const stat = statSync(staging.file(file.name), { throwIfNoEntry: false });
    return bytes + (stat ? stat.blocks * 512 : 0);
  }, 0);
  if (needed - there <= free) return;
  throw convertError(
    "OPSWAP_E_DISK_FULL",
    `${staging.folder} needs ${needed - there} bytes more and its disk has ${free} free`,
  );
}
