/** Finds running engines and sidecars by their records in the runtime folder. */
import { lstatSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import * as z from "zod/mini";
import { PROTOCOL, type Service, service } from "../generated/messages.js";
import { OpswapError } from "../types/errors.js";
import { systemError } from "../types/system-error.js";
import { didYouMean } from "./nearest.js";
import { startTime } from "./process.js";

/** A name that may stand in a path: an engine's or a sidecar's. */
export const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const RECORD_BYTES = 65_536;
/** Servers touch their record every second. */
const HUNG_AFTER_MS = 10_000;

const record = z.object({
  protocol: z.int(),
  service: service(),
  name: z.string().check(z.regex(NAME)),
  pid: z.int().check(z.positive()),
  start_time: z.string(),
  started: z.int(),
});

/** An engine or a sidecar that has a record in the runtime folder. */
export interface DiscoveredService {
  name: string;
  service: Service;
  pid: number;
  protocol: number;
  /** Unix time in ms. */
  started: number;
  socket: string;
  /** hung: the process lives but has not touched its record for ten seconds. */
  state: "live" | "hung" | "dead";
  /** Why it is not live; empty when it is. */
  reason: string;
}

/** The folder of sockets and records, which may not exist yet. */
export function runtimeDir(env: NodeJS.ProcessEnv = process.env): string {
  if (env.OPSWAP_RUNTIME_DIR) return path.resolve(env.OPSWAP_RUNTIME_DIR);
  const session = env.XDG_RUNTIME_DIR;
  if (session && isDirectory(session)) return path.join(session, "opswap");
  return `/tmp/opswap-${process.getuid?.() ?? 0}`;
}

/** Everything that has a record, dead ones included, in order of name. */
export function discover(dir: string = runtimeDir()): DiscoveredService[] {
  if (!isPrivate(dir)) return [];
  const records = inFolder(dir, (at) => readdirSync(at)).filter(
    (file) => file.endsWith(".json") && NAME.test(file.slice(0, -5)),
  );
  return records.sort().flatMap((file) => readRecord(dir, file.slice(0, -5)));
}

/** The one server that `name` means; without a name there must be exactly one engine. */
export function find(kind: Service, name?: string, dir: string = runtimeDir()): DiscoveredService {
  const all = discover(dir).filter((entry) => entry.service === kind);
  const wanted = name === undefined ? all : all.filter((entry) => entry.name === name);
  const live = wanted.filter((entry) => entry.state !== "dead");
  const [only] = live;
  if (live.length > 1) {
    const names = live.map((entry) => entry.name).join(", ");
    throw new OpswapError("OPSWAP_E_AMBIGUOUS", `${live.length} of kind ${kind} are running: ${names}`);
  }
  if (only) return checked(only);
  const dead = wanted[0] ? `: ${wanted[0].reason}` : "";
  const others = all.filter((entry) => entry.state !== "dead").map((entry) => entry.name);
  const hint = others.length > 0 ? `; running: ${others.join(", ")}` : "";
  const what = name === undefined ? `no ${kind}` : `no ${kind} named ${name}`;
  const near = name === undefined ? "" : didYouMean(name, others);
  const message = `${what} is running (looked in ${dir})${dead}${hint}${near}`;
  throw new OpswapError("OPSWAP_E_NOT_RUNNING", message, { remedy: howToStart(kind, name) });
}

function howToStart(kind: Service, name?: string): string {
  if (kind === "sidecar") return `start it: \`opswap sidecar${name === "sidecar" ? "" : ` --name ${name}`}\``;
  return "start the engine with VLLM_PLUGINS=opswap; `opswap status` lists what is running, `opswap doctor` looks for why not";
}

function checked(found: DiscoveredService): DiscoveredService {
  if (found.protocol === PROTOCOL) return found;
  const message = `${found.name} speaks protocol ${found.protocol}, this client speaks ${PROTOCOL}`;
  throw new OpswapError("OPSWAP_E_PROTOCOL", message);
}

/** A record that cannot be read is left out: its server is writing it, or it is not a record. */
function readRecord(dir: string, name: string): DiscoveredService[] {
  const file = path.join(dir, `${name}.json`);
  try {
    const { size, mtimeMs } = statSync(file);
    if (size > RECORD_BYTES) return [];
    const parsed = record.safeParse(JSON.parse(readFileSync(file, "utf8")));
    if (!parsed.success || parsed.data.name !== name) return [];
    const { start_time: start, ...rest } = parsed.data;
    const socket = path.join(dir, `${name}.sock`);
    return [{ ...rest, socket, ...health(rest.pid, start, Date.now() - mtimeMs) }];
  } catch {
    return [];
  }
}

function health(pid: number, start: string, silentMs: number): Pick<DiscoveredService, "state" | "reason"> {
  if (startTime(pid) !== start) return { state: "dead", reason: `its process ${pid} has ended` };
  if (silentMs <= HUNG_AFTER_MS) return { state: "live", reason: "" };
  return {
    state: "hung",
    reason: `process ${pid} has shown no sign of life for ${Math.round(silentMs / 1000)} s`,
  };
}

/** What the system refuses of the runtime folder, as an error of that folder. */
function inFolder<T>(dir: string, work: (dir: string) => T): T {
  try {
    return work(dir);
  } catch (cause) {
    const what = systemError(cause)?.message ?? String(cause);
    throw new OpswapError("OPSWAP_E_RUNTIME_DIR", `the runtime folder cannot be used: ${what}`, { cause });
  }
}

function isDirectory(dir: string): boolean {
  return statSync(dir, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** False when the folder does not exist; an error when somebody else could have put sockets there. */
function isPrivate(dir: string): boolean {
  const stat = inFolder(dir, (at) => lstatSync(at, { throwIfNoEntry: false }));
  if (!stat) return false;
  if (stat.isDirectory() && stat.uid === process.getuid?.() && (stat.mode & 0o077) === 0) return true;
  const mode = (stat.mode & 0o777).toString(8);
  throw new OpswapError(
    "OPSWAP_E_RUNTIME_DIR",
    `${dir} must be a folder of this user's with mode 700; it has owner ${stat.uid} and mode ${mode}`,
  );
}
