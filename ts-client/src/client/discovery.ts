/** Finds running engines and sidecars by their records in the runtime folders. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import * as z from "zod/mini";
import { PROTOCOL, type Service, service } from "../generated/messages.js";
import { OpswapError } from "../types/errors.js";
import { inFolder, runtimeDirs, safeFolders } from "./folders.js";
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
  /** A server of before this field was there has its record when it can answer. */
  state: z._default(z.enum(["starting", "ready"]), "ready"),
});

/** An engine or a sidecar that has a record in a runtime folder. */
export interface DiscoveredService {
  name: string;
  service: Service;
  pid: number;
  protocol: number;
  /** Unix time in ms. */
  started: number;
  socket: string;
  /** starting: it has its name and does not answer yet. hung: the process lives but has not touched its record for ten seconds. */
  state: "live" | "starting" | "hung" | "dead";
  /** Why it is not live; empty when it is. */
  reason: string;
}

/** Where to look: one folder, or several in order. */
export type Folders = string | readonly string[];

/** Everything that has a record, dead ones included, in order of name. */
export function discover(dirs: Folders = runtimeDirs()): DiscoveredService[] {
  const found = safeFolders([dirs].flat()).flatMap((dir) =>
    inFolder(dir, (at) => readdirSync(at))
      .filter((file) => file.endsWith(".json") && NAME.test(file.slice(0, -5)))
      .flatMap((file) => readRecord(dir, file.slice(0, -5))),
  );
  return found.sort((a, b) => (a.name < b.name ? -1 : Number(a.name > b.name)));
}

/** The one server that `name` means, which answers or should; without a name there must be exactly one engine. */
export function find(kind: Service, name?: string, dirs: Folders = runtimeDirs()): DiscoveredService {
  const all = discover(dirs).filter((entry) => entry.service === kind);
  const wanted = name === undefined ? all : all.filter((entry) => entry.name === name);
  const running = wanted.filter((entry) => entry.state !== "dead");
  const [only] = running;
  if (running.length > 1) throw ambiguous(kind, running);
  if (only) return checked(only);
  const dead = wanted[0] ? `: ${wanted[0].reason}` : "";
  const others = all.filter((entry) => entry.state !== "dead").map((entry) => entry.name);
  const hint = others.length > 0 ? `; running: ${others.join(", ")}` : "";
  const what = name === undefined ? `no ${kind}` : `no ${kind} named ${name}`;
  const near = name === undefined ? "" : didYouMean(name, others);
  const message = `${what} is running (looked in ${[dirs].flat().join(", ")})${dead}${hint}${near}`;
  throw new OpswapError("OPSWAP_E_NOT_RUNNING", message, { remedy: howToStart(kind, name) });
}

/** Two of one name are told by their folders, which are all that tells them apart. */
function ambiguous(kind: Service, running: readonly DiscoveredService[]): OpswapError {
  const names = running.map((entry) => entry.name);
  const twins = new Set(names).size < names.length;
  const told = running.map(({ name, socket }) => (twins ? `${name} in ${path.dirname(socket)}` : name));
  const message = `${running.length} of kind ${kind} are running: ${told.join(", ")}`;
  const remedy = "set OPSWAP_RUNTIME_DIR to the folder of the one that is meant, or stop the other";
  return new OpswapError("OPSWAP_E_AMBIGUOUS", message, twins ? { remedy } : {});
}

function howToStart(kind: Service, name?: string): string {
  if (kind === "sidecar") return `start it: \`opswap sidecar${name === "sidecar" ? "" : ` --name ${name}`}\``;
  return "start the engine with opswap in it, as docs/engines says; `opswap status` lists what is running, `opswap doctor` looks for why not";
}

function checked(found: DiscoveredService): DiscoveredService {
  const { name, service: kind, state, reason, protocol } = found;
  if (state === "starting")
    throw new OpswapError("OPSWAP_E_STARTING", `${kind} ${name} is starting: ${reason}`);
  if (protocol === PROTOCOL) return found;
  const message = `${name} speaks protocol ${protocol}, this client speaks ${PROTOCOL}`;
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
    const { start_time: start, state, ...rest } = parsed.data;
    const socket = path.join(dir, `${name}.sock`);
    const now = Date.now();
    const health = healthOf(rest.pid, start, now - mtimeMs);
    if (health.state !== "live" || state === "ready") return [{ ...rest, socket, ...health }];
    const since = Math.max(0, Math.round((now - rest.started) / 1000));
    return [{ ...rest, socket, state, reason: `process ${rest.pid} has loaded for ${since} s` }];
  } catch {
    return [];
  }
}

function healthOf(
  pid: number,
  start: string,
  silentMs: number,
): { state: "live" | "hung" | "dead"; reason: string } {
  if (startTime(pid) !== start) return { state: "dead", reason: `its process ${pid} has ended` };
  if (silentMs <= HUNG_AFTER_MS) return { state: "live", reason: "" };
  return {
    state: "hung",
    reason: `process ${pid} has shown no sign of life for ${Math.round(silentMs / 1000)} s`,
  };
}
