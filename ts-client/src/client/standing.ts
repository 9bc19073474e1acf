/** How a server that was discovered stands: its status, or that it is dead, starting or does not answer. */
import path from "node:path";
import type { StatusResult } from "../generated/messages.js";
import { OpswapError } from "../types/errors.js";
import type { DiscoveredService } from "./discovery.js";
import { connectEngine, connectSidecar } from "./index.js";

/** A server, with its own account of itself or the reason why it gave none. */
export interface Standing {
  name: string;
  service: string;
  pid: number;
  /** rank-less: the agent answers, and the ranks behind it do not. */
  state: DiscoveredService["state"] | "rank-less";
  reason: string;
  /** The runtime folder in which it was found. */
  folder: string;
  status?: StatusResult;
}

/** Asks a server how it stands; one that does not answer is hung. */
export async function standingOf(found: DiscoveredService): Promise<Standing> {
  const { name, service, pid, state, reason } = found;
  const folder = path.dirname(found.socket);
  const known = { name, service, pid, state, reason, folder };
  if (state === "dead" || state === "starting") return known;
  const connect = service === "engine" ? connectEngine : connectSidecar;
  try {
    const client = await connect({ name, atOnce: true, runtimeDir: folder });
    try {
      const status = await client.status();
      if (!status.unanswered) return { ...known, status };
      return { ...known, state: "rank-less", reason: status.unanswered, status };
    } finally {
      await client.close();
    }
  } catch (error) {
    if (!(error instanceof OpswapError)) throw error;
    return { ...known, state: "hung", reason: error.message };
  }
}
