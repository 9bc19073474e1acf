/** A refusal of what needs a run. */
import { OpswapError } from "../../types/errors.js";

export function noRun(name: string): OpswapError {
  return new OpswapError("OPSWAP_E_RUNS", `${name} has never run`, { remedy: `\`opswap ab start ${name}\`` });
}
