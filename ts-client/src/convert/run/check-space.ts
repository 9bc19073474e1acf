/** Refuses a run for which the disk has no room. */
import { statSync } from "node:fs";
import { convertError } from "../errors.js";
import { spaceFor } from "../plan/disk-space.js";
import type { Plan } from "../plan/types.js";
import type { Staging } from "./staging.js";

/** Refuses before the work what could not end well; what an earlier run wrote counts as there. */
export function checkSpace(plan: Plan, staging: Staging): void {
  const { needed, free } = spaceFor(plan, staging.folder);
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
