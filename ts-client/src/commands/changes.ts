/** The ops and implementations that a command line names: `OP IMPL`, or `OP=IMPL` as often as wanted. */
import type { Change } from "../generated/messages.js";
import { usageError } from "./usage.js";

/** The changes that these words name. */
export function changesOf(words: readonly string[]): Change[] {
  const [op = "", impl, ...more] = words;
  if (!words.some((word) => word.includes("="))) {
    if (impl === undefined || more.length > 0) throw usageError(`use: got ${words.length} words`, FORM);
    return [{ op, impl }];
  }
  return words.map(pair);
}

const FORM = "write `use OP IMPL`, or `use OP=IMPL OP=IMPL ...` for several ops at one step";

function pair(word: string): Change {
  const [op, impl, ...more] = word.split("=");
  if (!op || !impl || more.length > 0) throw usageError(`use: expected OP=IMPL; got ${word}`, FORM);
  return { op, impl };
}
