/** Prints what was thrown, and chooses the exit code. */
import type { OpswapError } from "../types/errors.js";
import { asRefusal } from "../types/refusal.js";
import { errorJson, errorLines } from "../view/error-lines.js";
import { EXIT, type ExitCode, type Io } from "./context.js";

/** Codes that mean the command line names something that is not there. */
const USAGE = new Set([
  "OPSWAP_E_USAGE",
  "OPSWAP_E_TENSOR_FILE",
  "OPSWAP_E_EXPERIMENT",
  "OPSWAP_E_SAMPLES",
  "OPSWAP_E_VERDICT",
  "OPSWAP_E_AMBIGUOUS",
  "OPSWAP_E_NO_OP",
  "OPSWAP_E_NO_IMPL",
  "OPSWAP_E_NO_FREEZE",
  "OPSWAP_E_NO_SWITCH",
  "OPSWAP_E_ARGUMENT",
  "OPSWAP_E_COUNT",
  "OPSWAP_E_UNSUPPORTED",
  "OPSWAP_E_CANNOT_CONVERT",
]);
const UNREACHABLE = new Set([
  "OPSWAP_E_NOT_RUNNING",
  "OPSWAP_E_NATIVE",
  "OPSWAP_E_INSTALL",
  "OPSWAP_E_PYTHON",
  "OPSWAP_E_ENDPOINT",
]);

/** The exit code that tells a script what kind of failure this was. */
export function exitCodeOf(error: OpswapError): ExitCode {
  if (UNREACHABLE.has(error.code)) return EXIT.unreachable;
  const codes = error.ranks.length > 0 ? error.ranks.map((rank) => rank.code) : [error.code];
  return codes.every((code) => USAGE.has(code)) ? EXIT.usage : EXIT.failed;
}

/** Prints what was thrown, as JSON where JSON is asked for, and says how to exit. */
export function report(io: Io, json: boolean, thrown: unknown): ExitCode {
  const error = asRefusal(thrown);
  if (json) io.out(errorJson(error));
  else for (const line of errorLines(error)) io.err(line);
  printStack(io, error);
  return exitCodeOf(error);
}

/** OPSWAP_DEBUG=1 shows where it was thrown. */
export function printStack(io: Io, error: OpswapError): void {
  const { stack } = (error.cause ?? error) as Partial<Error>;
  if (process.env.OPSWAP_DEBUG === "1" && stack !== undefined) io.err(stack);
}
