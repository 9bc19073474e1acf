/** Refusals of the converter: its own codes, and the system's errors as it reports them. */
import type { CONVERT_ERRORS } from "../generated/errors.js";
import { OpswapError } from "../types/errors.js";
import { errnoName, isFull, systemError } from "../types/system-error.js";

export { errnoName, isFull };

/** The converter's own codes, which errors.json declares, and those of the system. */
export type ConvertCode = keyof typeof CONVERT_ERRORS | "OPSWAP_E_IO" | "OPSWAP_E_DISK_FULL";

/** What is there is kept, so that nothing has to be done twice. */
const FULL = "make room and run the same command: it goes on where it stopped";

/** A refusal of the converter; the remedy is the code's own unless a better one is known. */
export function convertError(code: ConvertCode, message: string, remedy?: string): OpswapError {
  const better = remedy ?? (code === "OPSWAP_E_DISK_FULL" ? FULL : undefined);
  return new OpswapError(code, message, better === undefined ? {} : { remedy: better });
}

/** A system error as the converter reports it; anything else comes back as it is. */
export function asIoError(error: unknown): unknown {
  const known = systemError(error);
  return known?.code === "OPSWAP_E_DISK_FULL" ? convertError(known.code, known.message) : (known ?? error);
}
