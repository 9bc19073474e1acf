/** The folder of what outlives a process: verdicts, and the audit. */
import { homedir } from "node:os";
import path from "node:path";

/** OPSWAP_STATE_DIR, else opswap in this user's state folder; it may not exist yet. */
export function stateFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (env.OPSWAP_STATE_DIR) return path.resolve(env.OPSWAP_STATE_DIR);
  const state = env.XDG_STATE_HOME;
  return path.join(state && path.isAbsolute(state) ? state : path.join(homedir(), ".local/state"), "opswap");
}
