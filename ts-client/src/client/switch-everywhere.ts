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

/** An engine whose process lives, as `withTarget` takes it: two folders may have one name. */
export interface Running {
  engine: string;
  runtimeDir: string;
}

/** Switches every running engine by `use`, one after another; each switches by itself, and a refusal of one stops no other. */
export async function* switchEverywhere(
  use: (client: OpswapClient) => Promise<UseResult>,
): AsyncGenerator<Outcome> {
  for (const running of runningEngines()) {
    const { engine } = running;
    try {
      yield { engine, result: await withTarget(running, use) };
    } catch (error) {
      if (!(error instanceof OpswapError)) throw error;
      yield { engine, error };
    }
  }
}

/** All engines whose process lives; refuses where there is none. */
export function runningEngines(): Running[] {
  const engines = discover().filter(({ service, state }) => service === "engine" && state !== "dead");
  if (engines.length === 0) {
    const message = `no engine is running (looked in ${runtimeDirs().join(", ")})`;
    throw new OpswapError("OPSWAP_E_NOT_RUNNING", message);
  }
  return engines.map(({ name, socket }) => ({ engine: name, runtimeDir: path.dirname(socket) }));
}
