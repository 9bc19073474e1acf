/** Starts an engine's server for the demo, and ends it. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { HOST, type Launch, type Setup } from "./launch.js";
import { VLLM } from "./vllm.js";

/** Something that the person who ran the demo should read as a sentence. */
export class DemoError extends Error {}

const START_TIMEOUT_MS = 900_000;
const STOP_TIMEOUT_MS = 30_000;

/** Nothing is asked of a hub. The environment is opswap's own: with its bytecode kept, each of the engine's processes
 * imports in half the time. */
function environment(setup: Setup, launch: Launch): NodeJS.ProcessEnv {
  const PATH = [path.join(setup.engine, "bin"), process.env.PATH].join(path.delimiter);
  const quiet = { HF_HUB_OFFLINE: "1", PYTHONDONTWRITEBYTECODE: "" };
  return { ...process.env, ...launch.environment(setup), ...quiet, PATH, ...setup.env };
}

/** A server process of ours. */
export class Server {
  readonly url: string;
  /** The engine's name for `opswap`, as the adapter chooses it. */
  readonly engine: string;
  readonly launch: Launch;
  readonly #child: ChildProcess;
  readonly #log: string;

  private constructor(launch: Launch, child: ChildProcess, port: number, log: string) {
    this.launch = launch;
    this.#child = child;
    this.#log = log;
    this.url = `http://${HOST}:${port}`;
    this.engine = `${launch.name}-${port}`;
  }

  /** Starts it on a free port; it is not up yet. */
  static async start(setup: Setup): Promise<Server> {
    const port = await freePort();
    const log = openSync(setup.log, "w");
    const launch = setup.launch ?? VLLM;
    const lifeline = path.join(setup.packages, "opswap", "lifeline.py");
    // A process group of its own, so that its engine and workers end with it; and it ends with its input, which is
    // held by this process alone, so that a kill leaves nothing behind.
    const child = spawn(path.join(setup.engine, "bin", "python"), [lifeline, ...launch.words(setup, port)], {
      env: environment(setup, launch),
      stdio: ["pipe", log, log],
      detached: true,
    });
    closeSync(log);
    const server = new Server(launch, child, port, setup.log);
    process.once("exit", () => server.#signal("SIGKILL"));
    return server;
  }

  /** Waits until it answers; `tick` is called about every second with the newest line of its log. */
  async ready(tick: (line: string) => void): Promise<void> {
    const deadline = Date.now() + START_TIMEOUT_MS;
    while (!(await this.#healthy())) {
      if (this.#ended())
        throw this.#failure(
          `${this.launch.server} ended with ${this.#child.exitCode ?? this.#child.signalCode}`,
        );
      if (Date.now() > deadline)
        throw this.#failure(`${this.launch.server} did not answer in ${START_TIMEOUT_MS / 1000} s`);
      tick(lastLine(this.#log));
      await sleep(1_000);
    }
  }

  /** Ends it in an orderly way, and by force when that takes too long. */
  async stop(): Promise<void> {
    this.#signal("SIGTERM");
    const deadline = Date.now() + STOP_TIMEOUT_MS;
    while (!this.#ended() && Date.now() < deadline) await sleep(100);
    this.#signal("SIGKILL");
  }

  /** Resolves when it ends by itself. */
  async ended(): Promise<void> {
    while (!this.#ended()) await sleep(500);
  }

  #ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  async #healthy(): Promise<boolean> {
    try {
      return (await fetch(`${this.url}/health`)).ok;
    } catch {
      return false;
    }
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#child.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, signal);
    } catch {
      // The whole group has ended already.
    }
  }

  #failure(what: string): DemoError {
    return new DemoError(`${what}; the end of ${this.#log}:\n${tail(this.#log, 20)}`);
  }
}

function tail(file: string, lines: number): string {
  return readFileSync(file, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
}

function lastLine(file: string): string {
  return tail(file, 1).replace(/^\([^)]*\) /, "");
}

function freePort(): Promise<number> {
  return new Promise((done, fail) => {
    const probe = createServer();
    probe.once("error", fail);
    probe.listen(0, HOST, () => {
      const address = probe.address();
      const port = typeof address === "object" && address ? address.port : 0;
      probe.close(() => done(port));
    });
  });
}
