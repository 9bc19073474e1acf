/** The runtime folders: where servers put their sockets and records. A server takes the first one, a client looks into all. */
import { lstatSync, statSync } from "node:fs";
import path from "node:path";
import { OpswapError } from "../types/errors.js";
import { systemError } from "../types/system-error.js";

/** Where systemd keeps the users' runtime folders, and where there is room without one; tests have their own. */
export interface Places {
  sessions: string;
  shared: string;
}

const PLACES: Places = { sessions: "/run/user", shared: "/tmp" };

/**
 * OPSWAP_RUNTIME_DIR alone; else `opswap` in XDG_RUNTIME_DIR and in /run/user/UID, where those are folders of this user's, then
 * /tmp/opswap-UID. They need not exist. So a service that was started without a session and a shell that has one find each other.
 */
export function runtimeDirs(env: NodeJS.ProcessEnv = process.env, places = PLACES): string[] {
  if (env.OPSWAP_RUNTIME_DIR) return [path.resolve(env.OPSWAP_RUNTIME_DIR)];
  const user = process.geteuid?.() ?? 0;
  const sessions = [env.XDG_RUNTIME_DIR ?? "", path.join(places.sessions, String(user))];
  const own = sessions.filter((folder) => path.isAbsolute(folder) && isOf(user, folder));
  const shared = path.join(places.shared, `opswap-${user}`);
  return [...new Set([...own.map((folder) => path.join(folder, "opswap")), shared])];
}

/** The folder that a server takes which is started here; it may not exist yet. */
export function runtimeDir(env: NodeJS.ProcessEnv = process.env): string {
  return runtimeDirs(env)[0] ?? "";
}

/**
 * Those of the folders that are there. Where somebody else could have put sockets into one, it is left out; when no other is left, that
 * is an error.
 */
export function safeFolders(dirs: readonly string[]): string[] {
  const found = dirs.map((dir) => ({ dir, doubt: doubtOf(dir) }));
  const safe = found.filter(({ doubt }) => doubt === "").map(({ dir }) => dir);
  const doubt = found.find((one) => one.doubt)?.doubt;
  if (safe.length === 0 && doubt) throw new OpswapError("OPSWAP_E_RUNTIME_DIR", doubt);
  return safe;
}

/** What the system refuses of a runtime folder, as an error of that folder. */
export function inFolder<T>(dir: string, work: (dir: string) => T): T {
  try {
    return work(dir);
  } catch (cause) {
    const what = systemError(cause)?.message ?? String(cause);
    throw new OpswapError("OPSWAP_E_RUNTIME_DIR", `the runtime folder cannot be used: ${what}`, { cause });
  }
}

/** "" when the folder may be used, undefined when it does not exist; else why not. */
function doubtOf(dir: string): string | undefined {
  const stat = inFolder(dir, (at) => lstatSync(at, { throwIfNoEntry: false }));
  if (!stat) return undefined;
  if (stat.isDirectory() && stat.uid === process.geteuid?.() && (stat.mode & 0o077) === 0) return "";
  const mode = (stat.mode & 0o777).toString(8);
  return `${dir} must be a folder of this user's with mode 700; it has owner ${stat.uid} and mode ${mode}`;
}

function isOf(user: number, folder: string): boolean {
  try {
    const stat = statSync(folder);
    return stat.isDirectory() && stat.uid === user;
  } catch {
    return false;
  }
}
