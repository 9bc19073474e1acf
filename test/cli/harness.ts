/** For tests of the command line: runs the built one, and starts sidecars and fake engines beside it. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { discover } from "../../ts-client/src/client/index.js";
import { pythonEnvironment } from "../../ts-client/src/python-environment.js";

export const root = path.resolve(import.meta.dirname, "../..");
export const cli = path.join(root, "dist/opswap.cjs");

export interface Ran {
  code: number | null;
  out: string;
  err: string;
}

/** zeromq.js prints it where its threads take over half a second to end, as on a busy machine, whether a message waits or not. */
const SLOW_END = /^\(node:\d+\) WARNING: Waiting for queued ZeroMQ messages to be delivered\..*\n/gm;

/** Runs the built command line as a user does. */
export function opswap(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  const child = spawn(process.execPath, [cli, ...args], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  return new Promise((done) => {
    const ran: Ran = { code: null, out: "", err: "" };
    child.stdout.on("data", (chunk) => (ran.out += chunk));
    child.stderr.on("data", (chunk) => (ran.err += chunk));
    child.on("close", (code) => done({ ...ran, err: ran.err.replace(SLOW_END, ""), code }));
  });
}

/** A folder that is removed again; short, because socket paths have to be. */
export function scratch(): { dir: string; remove(): void } {
  const dir = mkdtempSync(path.join(tmpdir(), "ow"));
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

/** A child process that prints "ready" and ends when its input is closed. */
export class Server {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Runs a Python script with the packages of this checkout. */
  static async python(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Server> {
    const host = pythonEnvironment();
    const PYTHONPATH = [host.env.PYTHONPATH, path.join(root, "test")].join(path.delimiter);
    const child = spawn(host.python, args, {
      env: { ...host.env, ...env, PYTHONPATH },
      stdio: ["pipe", "pipe", "inherit"],
    });
    await new Promise<void>((ready, fail) => {
      child.stdout?.on("data", (chunk) => String(chunk).includes("ready") && ready());
      child.once("exit", (code) =>
        fail(new Error(`${args.join(" ")} ended with ${code} before it was ready`)),
      );
    });
    return new Server(child);
  }

  /** `opswap sidecar`, up when it has its record in the runtime folder. */
  static async sidecar(env: { OPSWAP_RUNTIME_DIR: string }): Promise<Server> {
    const child = spawn(process.execPath, [cli, "sidecar"], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "ignore", "inherit"],
    });
    while (!discover(env.OPSWAP_RUNTIME_DIR).some((found) => found.state === "live")) {
      if (child.exitCode !== null) throw new Error(`opswap sidecar ended with ${child.exitCode}`);
      await sleep(50);
    }
    return new Server(child);
  }

  /** Closes its input, or interrupts it where it has none, and waits until it has ended. */
  async stop(): Promise<void> {
    const ended = new Promise((done) => this.#child.once("exit", done));
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    if (this.#child.stdin) this.#child.stdin.end();
    else this.#child.kill("SIGINT");
    await ended;
  }
}

/** A real agent over fake ranks; see fake_engine.py. */
export function fakeEngine(runtimeDir: string, name: string, ...options: string[]): Promise<Server> {
  const script = path.join(root, "test/cli/fake_engine.py");
  return Server.python([script, name, ...options], { OPSWAP_RUNTIME_DIR: runtimeDir });
}
