/** Switches an op on every running engine. */
import path from "node:path";
import type { UseResult } from "../generated/messages.js";
import { OpswapError } from "../types/errors.js";
import { discover } from "./discovery.js";
import { runtimeDirs } from "./folders.js";
import { withTarget } from "./target.js";
import type { OpswapClient } from "./types.js";

/** What a switch did on one engine. */
export type Outcome = { engine: string; result: UseResult } | { engine: string; error: OpswapError };

/** Switches every running engine by `use`, one after another; each switches by itself, and a refusal of one stops no other. */
export async function* switchEverywhere(
  use: (client: OpswapClient) => Promise<UseResult>,
): AsyncGenerator<Outcome> {
  const engines = discover().filter(({ service, state }) => service === "engine" && state !== "dead");
  if (engines.length === 0)
    throw new OpswapError(
      "OPSWAP_E_NOT_RUNNING",
      `no engine is running (looked in ${runtimeDirs().join(", ")})`,
    );
  for (const { name: engine, socket } of engines) {
    try {
      yield { engine, result: await withTarget({ engine, runtimeDir: path.dirname(socket) }, use) };
    } catch (error) {
      if (!(error instanceof OpswapError)) throw error;
      yield { engine, error };
    }
  }
}
