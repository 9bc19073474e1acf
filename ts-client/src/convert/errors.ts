import { constants } from "node:os";
import { OpswapError } from "../client/errors.js";

interface Row {
  meaning: string;
  remedy: string;
}

/** Stable codes of the converter; docs/convert.md lists them. */
export const CONVERT_ERRORS = {
  OPSWAP_E_SOURCE: {
    meaning: "the source is not a checkpoint that can be read",
    remedy: "give a folder or file of safetensors; fetch damaged files again",
  },
  OPSWAP_E_SOURCE_CHANGED: {
    meaning: "the source is not what it was when this conversion began",
    remedy: "restore it, or begin again with --restart",
  },
  OPSWAP_E_UNSUPPORTED: {
    meaning: "this version does not convert from or to that",
    remedy: "`opswap convert --help` lists what it does",
  },
  OPSWAP_E_NONFINITE: {
    meaning: "the source has NaN or infinite weights",
    remedy: "mend the source, or say --nonfinite keep or --nonfinite zero",
  },
  OPSWAP_E_CALIBRATION: {
    meaning: "statistics of the layers' inputs are missing or unfit",
    remedy: "collect them while the model runs, and give them with --calibration",
  },
  OPSWAP_E_OUTPUT: {
    meaning: "the output cannot be made there",
    remedy: "name a folder that does not exist, on a file system that can be written",
  },
  OPSWAP_E_BUSY: {
    meaning: "another conversion is writing this output",
    remedy: "wait until it has ended, or choose another output",
  },
  OPSWAP_E_STALE: {
    meaning: "an unfinished output of another conversion is in the way",
    remedy: "finish that one with its own command, or begin again with --restart, which removes it",
  },
  OPSWAP_E_UNFINISHED: {
    meaning: "parts of the conversion are not done",
    remedy: "run the parts that the message names, then merge again",
  },
  OPSWAP_E_DISK_FULL: {
    meaning: "the disk or quota has no room for the output",
    remedy: "make room and run the same command: it goes on where it stopped",
  },
  OPSWAP_E_IO: {
    meaning: "a file could not be read or written",
    remedy: "the message has the system's own words",
  },
  OPSWAP_E_MISMATCH: {
    meaning: "the output is not what the source converts to",
    remedy: "convert again; if a fresh output differs as well, test the machine's memory and disk",
  },
} as const satisfies Record<string, Row>;

export type ConvertCode = keyof typeof CONVERT_ERRORS;

/** A refusal of the converter; the remedy is the code's own unless a better one is known. */
export function convertError(code: ConvertCode, message: string, remedy?: string): OpswapError {
  return new OpswapError(code, message, { remedy: remedy ?? CONVERT_ERRORS[code].remedy });
}

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

/** A system error as the converter reports it; anything else comes back as it is. */
export function asIoError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof OpswapError) return error;
  const { errno, syscall, path } = error as NodeJS.ErrnoException;
  if (errno === undefined || syscall === undefined) return error;
  const where = path === undefined ? "" : ` ${path}`;
  const code = isFull(-errno) ? "OPSWAP_E_DISK_FULL" : "OPSWAP_E_IO";
  return convertError(code, `${syscall}${where}: ${errnoName(-errno)}`);
}
