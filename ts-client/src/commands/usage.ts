/** Refusals of a command line that is wrong. */
import type { Command, CommanderError } from "commander";
import { nearest } from "../client/nearest.js";
import { OpswapError } from "../types/errors.js";

/** A command line that is wrong, in the form that every refusal has. */
export function usageError(message: string, remedy?: string): OpswapError {
  return new OpswapError("OPSWAP_E_USAGE", message, remedy === undefined ? {} : { remedy });
}

/** What the parser found wrong with the options or arguments of `called`; its hint is on a line of its own. */
export function asUsageError({ message }: CommanderError, called: string): OpswapError {
  const text = message.replace(/^error: /, "").replace(/\s*\n\s*/g, " ");
  return usageError(text, `\`${called} --help\` says more`);
}

/**
 * Refuses a word that stands where a verb belongs. The parser answers `--help` before it looks at the word, and where
 * there is a default verb the word may be its argument, so only what is near to a verb is taken for a slip.
 */
export function refuseUnknownVerb(command: Command, called: string): void {
  const isDefaulted = command.commands.some(isHidden);
  // A word behind an option may be its value, where there are options with values.
  const [first, second] = command.args.filter((given) => isDefaulted || !given.startsWith("-"));
  const word = first === "help" ? second : first;
  const names = command.commands.flatMap((verb) => (isHidden(verb) ? [] : [verb.name()]));
  if (word === undefined || word.startsWith("-") || names.length === 0) return;
  if (word === "help" || names.includes(word)) return;
  const near = nearest(word, names);
  if (near === undefined && isDefaulted) return;
  const hint = near === undefined ? "" : ` (Did you mean ${near}?)`;
  throw usageError(`unknown command '${word}'${hint}`, `\`${called} --help\` lists them`);
}

/** A hidden verb is the one that runs when none is named. */
function isHidden(command: Command): boolean {
  return (command as Command & { _hidden?: boolean })._hidden === true;
}
