/** OpswapError: every refusal, with its code, its message and what to do. */
import { CONVERT_ERRORS, LIBRARY_ERRORS } from "../generated/errors.js";
import { ERRORS, type RankRefusal } from "../generated/messages.js";

interface Details {
  remedy?: string;
  ranks?: RankRefusal[];
  cause?: unknown;
}

/** A refusal with a stable code, one sentence, and what to do about it. */
export class OpswapError extends Error {
  readonly code: string;
  readonly remedy: string;
  /** The ranks that refused a switch, with their reasons. */
  readonly ranks: RankRefusal[];

  constructor(code: string, message: string, details: Details = {}) {
    super(message, { cause: details.cause });
    this.name = "OpswapError";
    this.code = code;
    this.remedy = details.remedy ?? remedyOf(code);
    this.ranks = details.ranks ?? [];
  }
}

const TABLES: Record<string, { remedy: string }>[] = [ERRORS, LIBRARY_ERRORS, CONVERT_ERRORS];

/** The remedy that the table of a code states; empty for a code of a server that is newer than this client. */
export function remedyOf(code: string): string {
  return TABLES.find((table) => Object.hasOwn(table, code))?.[code]?.remedy ?? "";
}

/** Errors of the addon carry a code already; anything else is a defect and keeps its own class. */
export function asOpswapError(
  error: unknown,
  table: readonly { name: string; remedy: string }[] = [],
): unknown {
  if (error instanceof OpswapError || !(error instanceof Error)) return error;
  const code = (error as NodeJS.ErrnoException).code;
  if (!code?.startsWith("OPSWAP_E_")) return error;
  const remedy = table.find((row) => row.name === code)?.remedy ?? remedyOf(code);
  return new OpswapError(code, error.message, { remedy, cause: error });
}
