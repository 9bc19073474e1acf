/** Why a shared-memory segment cannot be made or opened. */
import { statfsSync } from "node:fs";
import { constants } from "node:os";
import { asOpswapError, OpswapError } from "../types/errors.js";
import { errnoName } from "../types/system-error.js";

const SHM = "/dev/shm";
const { ENOSPC, ENOMEM, EFBIG, ENOENT, ENOTDIR, EACCES, EPERM, EROFS, EMFILE, ENFILE } = constants.errno;
const LOCAL = "or call with --local, which needs none";
const ENLARGE =
  "make it larger (docker run --shm-size=8g, or mount -o remount,size=8g /dev/shm), " +
  `free what is in it, ${LOCAL}`;

/** The system's number of an error of the addon. */
export function systemErrno(error: unknown): number | undefined {
  const { errno } = error as { errno?: unknown };
  return typeof errno === "number" ? errno : undefined;
}

/** Why there is no segment of `bytes`, with the room there is and the way out. */
export function segmentError(error: unknown, bytes: number): unknown {
  const errno = systemErrno(error);
  if (errno === undefined) return asOpswapError(error);
  const [code, why, remedy] = explained(errno);
  const message = `a tensor needs a segment of ${bytes} bytes of shared memory: ${why}`;
  return new OpswapError(code, message, { remedy, cause: error });
}

function explained(errno: number): [code: string, why: string, remedy: string] {
  const name = errnoName(errno);
  if (errno === ENOSPC || errno === ENOMEM) return ["OPSWAP_E_MEMORY", room(), ENLARGE];
  if (errno === EFBIG)
    return [
      "OPSWAP_E_MEMORY",
      "a limit on the size of files is below that",
      `raise it (ulimit -f), ${LOCAL}`,
    ];
  if (errno === EMFILE || errno === ENFILE)
    return [
      "OPSWAP_E_MEMORY",
      `too many files are open (${name})`,
      "close some, or raise the limit (ulimit -n)",
    ];
  if (errno === ENOENT || errno === ENOTDIR)
    return ["OPSWAP_E_SEGMENT", `there is no ${SHM}`, `mount a tmpfs there, ${LOCAL}`];
  if ([EACCES, EPERM, EROFS].includes(errno))
    return [
      "OPSWAP_E_SEGMENT",
      `${SHM} cannot be written (${name})`,
      `give it mode 1777 and mount it rw, ${LOCAL}`,
    ];
  return ["OPSWAP_E_SEGMENT", `${SHM}: ${name}`, `see the system's own words, ${LOCAL}`];
}

function room(): string {
  try {
    const { bavail, blocks, bsize } = statfsSync(SHM);
    return `${SHM} has ${bavail * bsize} of ${blocks * bsize} bytes free`;
  } catch {
    return `${SHM} has no room`;
  }
}
