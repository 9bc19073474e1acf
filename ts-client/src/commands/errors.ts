import type { OpswapError } from "../client/index.js";
import { EXIT, type ExitCode } from "./context.js";

/** Codes that mean the command line names something that is not there. */
const USAGE = new Set([
  "OPSWAP_E_AMBIGUOUS",
  "OPSWAP_E_NO_OP",
  "OPSWAP_E_NO_IMPL",
  "OPSWAP_E_ARGUMENT",
  "OPSWAP_E_COUNT",
  "OPSWAP_E_UNSUPPORTED",
]);
const UNREACHABLE = new Set(["OPSWAP_E_NOT_RUNNING", "OPSWAP_E_NATIVE"]);

/** The exit code that tells a script what kind of failure this was. */
export function exitCodeOf(error: OpswapError): ExitCode {
  if (UNREACHABLE.has(error.code)) return EXIT.unreachable;
  const codes = error.ranks.length > 0 ? error.ranks.map((rank) => rank.code) : [error.code];
  return codes.every((code) => USAGE.has(code)) ? EXIT.usage : EXIT.failed;
}

/** What a person reads: the sentence, the ranks' reasons, what to do, and the code to search for. */
export function errorLines(error: OpswapError): string[] {
  const ranks = error.ranks.map(({ rank, reason }) => `  rank ${rank}: ${reason}`);
  const remedy = error.remedy ? [`  ${error.remedy}`] : [];
  return [`opswap: ${error.message} [${error.code}]`, ...ranks, ...remedy];
}

/** What a script reads. */
export function errorJson({ code, message, remedy, ranks }: OpswapError): string {
  return JSON.stringify({ error: { code, message, remedy, ranks } }, null, 2);
}
