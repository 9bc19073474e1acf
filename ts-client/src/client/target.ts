/** Connects to what a command line names, and closes the connection afterwards. */
import { connectEngine, connectLocal, connectSidecar } from "./index.js";
import type { OpswapClient } from "./types.js";

/** Whom to talk to: an engine, a sidecar, or the library in this process. */
export interface Target {
  engine?: string;
  sidecar?: string;
  local?: boolean;
  /** The runtime folder to look in; all of them when left out. */
  runtimeDir?: string;
}

function connect({ engine, sidecar, local, runtimeDir }: Target): Promise<OpswapClient> {
  if (local) return connectLocal();
  return sidecar === undefined
    ? connectEngine({ name: engine, atOnce: true, runtimeDir })
    : connectSidecar({ name: sidecar, atOnce: true, runtimeDir });
}

/** Connects, works, and always closes. */
export async function withTarget<T>(target: Target, work: (client: OpswapClient) => Promise<T>): Promise<T> {
  const client = await connect(target);
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}
