/** Clients of opswap: of an engine, of a sidecar, and of the library in this process. */
import type { OpswapClient } from "./types.js";
import { type ConnectOptions, ZmqClient } from "./zmq.js";

export { OpswapError } from "../types/errors.js";
export { Quantized } from "../types/quantized.js";
export type { OpTensor } from "../types/tensor.js";
export { declared, missingArgument, packArguments, run } from "./args.js";
export type { DiscoveredService } from "./discovery.js";
export { discover } from "./discovery.js";
export { runtimeDir, runtimeDirs } from "./folders.js";
export type { Manifest, ManifestArgument, ManifestOp } from "./manifest.js";
export type { CallArgument, CallOptions, OpswapClient, UseOptions } from "./types.js";
export type { ConnectOptions } from "./zmq.js";

/** The library in this process; needs no Python and no server. */
export async function connectLocal(): Promise<OpswapClient> {
  const { LocalClient } = await import("./local.js");
  return new LocalClient();
}

/** The agent of a running engine. */
export function connectEngine(options: ConnectOptions = {}): Promise<OpswapClient> {
  return ZmqClient.connect("engine", options);
}

/** A running sidecar, which runs ops on tensors in shared memory. */
export function connectSidecar(options: ConnectOptions = {}): Promise<OpswapClient> {
  return ZmqClient.connect("sidecar", { name: "sidecar", ...options });
}
