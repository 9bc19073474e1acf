/** A lock between processes, on a file that is open. */
import { constants } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { loadNative } from "../native.js";
import { OpswapError } from "../types/errors.js";
import { errnoName } from "../types/system-error.js";

const WAIT_MS = 5_000;
const RETRY_MS = 5;

/** Waits until no other process has it; the system lets go of the lock of one that is killed. Refusals have `code`. */
export async function locked(fd: number, file: string, code: string): Promise<void> {
  const native = loadNative();
  const end = performance.now() + WAIT_MS;
  for (;;) {
    const errno = native.lockFile(fd);
    if (errno === 0) return;
    if (errno !== constants.errno.EWOULDBLOCK)
      throw new OpswapError(code, `${file} cannot be locked: ${errnoName(errno)}`);
    if (performance.now() > end)
      throw new OpswapError(code, `${file} is locked by another process since ${WAIT_MS / 1000} s`);
    await sleep(RETRY_MS);
  }
}
