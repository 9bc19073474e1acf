/** Sidecars and engines that tests start and end. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { discover } from "../client/discovery.js";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..", "..", "..");
const START_MS = 30_000;

/** A private runtime folder, on a path short enough for a socket. */
export function runtimeFolder(): { dir: string; remove(): void } {
  const dir = mkdtempSync("/tmp/ow");
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

/** A server in a process of its own. */
export interface Server {
  readonly process: ChildProcess;
  /** Ends it as its user would. */
  stop(): Promise<void>;
}

/** `opswap sidecar`, without the command line in front of it. */
export function startSidecar(dir: string, name = "sidecar"): Promise<Server> {
  return start(dir, name, ["-m", "opswap.ipc.sidecar", "--name", name]);
}

/** An engine of one rank: the real library, a real agent, no framework. */
export function startEngine(dir: string, name: string): Promise<Server> {
  return start(dir, name, [path.join(ROOT, "test", "ipc", "real_engine.py"), name]);
}

async function start(dir: string, name: string, args: string[]): Promise<Server> {
  const python = process.env.OPSWAP_PYTHON;
  if (!python) throw new Error("OPSWAP_PYTHON is not set: run the tests by `npm test`");
  const env = { ...process.env, OPSWAP_RUNTIME_DIR: dir };
  const child = spawn(python, args, { env, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said += chunk;
  });
  const deadline = Date.now() + START_MS;
  while (
    !discover(dir).some((found) => found.name === name && found.pid === child.pid && found.state === "live")
  ) {
    if (child.exitCode !== null || Date.now() > deadline) {
      child.kill("SIGKILL");
      throw new Error(`${args.join(" ")} did not start: ${said}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { process: child, stop: () => stop(child) };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}
