/** Switches an op on every running engine. */
import type { UseResult } from "../generated/messages.js";
import { OpswapError } from "../types/errors.js";
import { discover } from "./discovery.js";
import { withTarget } from "./target.js";
import type { OpswapClient } from "./types.js";

/** What a switch did on one engine. */
export type Outcome = { engine: string; result: UseResult } | { engine: string; error: OpswapError };

/** Switches every running engine by `use`, one after another; each switches by itself, and a refusal of one stops no other. */
export async function* switchEverywhere(
  use: (client: OpswapClient) => Promise<UseResult>,
): AsyncGenerator<Outcome> {
  for (const engine of runningEngines()) {
    try {
      yield { engine, result: await withTarget({ engine }, use) };
    } catch (error) {
      if (!(error instanceof OpswapError)) throw error;
      yield { engine, error };
    }
  }
}

/** The names of all engines whose process lives; refuses where there is none. */
export function runningEngines(): string[] {
  const engines = discover().filter(({ service, state }) => service === "engine" && state !== "dead");
  if (engines.length === 0) throw new OpswapError("OPSWAP_E_NOT_RUNNING", "no engine is running");
  return engines.map(({ name }) => name);
}
