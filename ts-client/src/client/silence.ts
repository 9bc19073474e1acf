/** Why a server that was found did not answer: what its record says now. */
import path from "node:path";
import { OpswapError } from "../types/errors.js";
import { type DiscoveredService, discover } from "./discovery.js";

/** Codes that say that nothing came back. */
const NO_ANSWER = new Set(["OPSWAP_E_TIMEOUT", "OPSWAP_E_NOT_RUNNING"]);
const HUNG = "its log says what it does; when it does not come back, end its process and start it again";

/** The error, with what is known of the server where it did not answer: that it hangs, or has ended. */
export function explained(error: unknown, { name, service, socket }: DiscoveredService): unknown {
  if (!(error instanceof OpswapError) || !NO_ANSWER.has(error.code)) return error;
  const now = discover(path.dirname(socket)).find((found) => found.name === name);
  if (now?.state !== "hung" && now?.state !== "dead") return error;
  const told = now.state === "hung" ? "is hung" : "has ended";
  const message = `${service} ${name} ${told}: ${now.reason} (${error.message})`;
  return new OpswapError(error.code, message, {
    cause: error,
    ...(now.state === "hung" && { remedy: HUNG }),
  });
}
