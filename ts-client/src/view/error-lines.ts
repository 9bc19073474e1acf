/** A refusal as people and as scripts read it. */
import type { OpswapError } from "../types/errors.js";

/** What a person reads: the sentence, what it leaves out of the ranks, what to do, and the code to search for. */
export function errorLines(error: OpswapError): string[] {
  const remedy = error.remedy ? [`  ${error.remedy}`] : [];
  return [`opswap: ${error.message} [${error.code}]`, ...rankLines(error), ...remedy];
}

/** The sentence often holds the ranks' reasons, and nothing is said twice. */
function rankLines({ message, ranks }: OpswapError): string[] {
  const reasons = new Set(ranks.map(({ reason }) => reason));
  const told = [...reasons].every((reason) => message.includes(reason));
  if (!told) return ranks.map(({ rank, reason }) => `  rank ${rank}: ${reason}`);
  if (reasons.size !== 1) return [];
  return [`  on rank${ranks.length === 1 ? "" : "s"} ${ranks.map(({ rank }) => rank).join(", ")}`];
}

/** What a script reads: a line, as every other thing that may be told before it. */
export function errorJson({ code, message, remedy, ranks }: OpswapError): string {
  return JSON.stringify({ error: { code, message, remedy, ranks } });
}
