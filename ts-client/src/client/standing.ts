/** How a server that was discovered stands: its status, or that it is dead or does not answer. */
import type { StatusResult } from "../generated/messages.js";
import { OpswapError } from "../types/errors.js";
import type { DiscoveredService } from "./discovery.js";
import { connectEngine, connectSidecar } from "./index.js";

/** A server, with its own account of itself or the reason why it gave none. */
export interface Standing {
  name: string;
  service: string;
  pid: number;
  state: DiscoveredService["state"];
  reason: string;
  status?: StatusResult;
}

/** Asks a server how it stands; one that does not answer is hung. */
export async function standingOf({
  name,
  service,
  pid,
  state,
  reason,
}: DiscoveredService): Promise<Standing> {
  if (state === "dead") return { name, service, pid, state, reason };
  const connect = service === "engine" ? connectEngine : connectSidecar;
  try {
    const client = await connect({ name, atOnce: true });
    try {
      return { name, service, pid, state, reason, status: await client.status() };
    } finally {
      await client.close();
    }
  } catch (error) {
    if (!(error instanceof OpswapError)) throw error;
    return { name, service, pid, state: "hung", reason: error.message };
  }
}
