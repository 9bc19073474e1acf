/** Makes an OpswapError of whatever was thrown. */
import { asOpswapError, OpswapError } from "./errors.js";
import { systemError } from "./system-error.js";

/** Whatever was thrown, as a refusal with a code: the last line of defence, so that nobody is shown a stack. */
export function asRefusal(thrown: unknown): OpswapError {
  const known = systemError(thrown) ?? asOpswapError(thrown);
  if (known instanceof OpswapError) return known;
  const what = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  return new OpswapError("OPSWAP_E_UNEXPECTED", what.replace(/\s*\n\s*/g, " ").slice(0, 1000), {
    remedy: "this is a defect: report it with the message; OPSWAP_DEBUG=1 shows where it was thrown",
    cause: thrown,
  });
}
