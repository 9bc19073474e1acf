/** Errors of the system, such as a full disk, as refusals with a remedy. */
import { constants } from "node:os";
import { OpswapError } from "./errors.js";

const { ENOSPC, EDQUOT, EFBIG } = constants.errno;

/** Whether an error number says that there is no room: none on the disk, in the quota, or under the process's limit. */
export function isFull(errno: number): boolean {
  return [ENOSPC, EDQUOT, EFBIG].includes(errno);
}

/** The system's name of an error number; Node does not know them all. */
export function errnoName(errno: number): string {
  const found = Object.entries(constants.errno).find(([, value]) => value === errno);
  return found?.[0] ?? `error ${errno}`;
}

/** What to do about an error of the system, where more is known than its name. */
const REMEDIES: Record<string, string> = {
  ENOENT: "name one that exists, or make the folder it lies in",
  ENOTDIR: "name a path whose parents are folders",
  EISDIR: "name a file, not a folder",
  EACCES: "name one that this user may read and write, or change its mode",
  EPERM: "name one that this user may read and write, or change its owner",
  EROFS: "name a place on a file system that can be written",
  EMFILE: "raise the limit of open files: ulimit -n",
  ENFILE: "end processes that hold files open: the machine has no more",
  ENAMETOOLONG: "use a shorter path",
  EFBIG: "raise the limit on the size of files: ulimit -f",
};

/** A system error of Node as a refusal; undefined for anything else. */
export function systemError(error: unknown): OpswapError | undefined {
  if (!(error instanceof Error) || error instanceof OpswapError) return undefined;
  const { code = "", errno, syscall, path } = error as NodeJS.ErrnoException;
  // Node has no name for some, such as a full quota, and says "Unknown system error" for a code.
  const isNumbered = typeof errno === "number" && syscall !== undefined;
  const number = isNumbered ? Math.abs(errno) : constants.errno[code as "EIO"];
  if (number === undefined) return undefined;
  const name = Object.hasOwn(constants.errno, code) ? code : errnoName(number);
  const where = path === undefined ? "" : ` ${path}`;
  const what = syscall === undefined ? error.message : `${syscall}${where}: ${name}`;
  const remedy = REMEDIES[name];
  return new OpswapError(isFull(number) ? "OPSWAP_E_DISK_FULL" : "OPSWAP_E_IO", what, {
    ...(remedy === undefined ? {} : { remedy }),
    cause: error,
  });
}
