/** The real `vllm serve` that all engine tests share. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { discover } from "../../ts-client/src/client/index.js";
import { Server, type Setup } from "../../ts-client/src/demo/server.js";
import { opswap, root } from "./harness.js";

/** A folder of its own, so that no other engine of this machine is found by a verb that names none. */
const own = mkdtempSync(path.join(tmpdir(), "ow"));
process.once("exit", () => rmSync(own, { recursive: true, force: true }));
/** From here the engine takes in kernels of its user, and builds that are signed with KEY. */
export const CANDIDATES = path.join(own, "kernels");
export const KEY = path.join(own, "test.key");
/** Here it records. */
export const RECORDINGS = path.join(own, "recordings");

let shared: Promise<Server> | undefined;

/** How `opswap status` saw it while it loaded its model, and in the end. */
export const seenAtStart: string[] = [];

/** One `vllm serve` for all engine tests of this process; `npm test` runs their files in one. */
export function server(): Promise<Server> {
  shared ??= start();
  return shared;
}

/** Where its pieces are; `log` is the name of its log. */
export function setup(log: string): Setup {
  const { OPSWAP_ENGINE_ENV: engine, OPSWAP_MODEL: model } = process.env;
  if (!engine || !model) throw new Error("no engine environment: run these tests by `npm test`");
  return {
    engine,
    packages: path.join(root, "build/python"),
    model,
    log: path.join(root, "build/logs", log),
  };
}

/** What the engine is allowed by its own environment. */
async function allow(): Promise<void> {
  for (const folder of [CANDIDATES, RECORDINGS, path.join(own, "run")]) mkdirSync(folder, { mode: 0o700 });
  const configuration = path.join(own, "candidates.json");
  const made = await opswap(["build-key", "new", KEY, "--json"]);
  const trusted_keys = { test: JSON.parse(made.out).public_key };
  writeFileSync(configuration, JSON.stringify({ folders: [CANDIDATES], trusted_keys }), { mode: 0o600 });
  process.env.OPSWAP_RUNTIME_DIR = path.join(own, "run");
  process.env.OPSWAP_CANDIDATES = configuration;
  process.env.OPSWAP_RECORDINGS = RECORDINGS;
}

/** Ranks with wrong kernels planted in them, which nobody runs who does not name them. */
function planted(log: string): Setup {
  const made = setup(log);
  const PYTHONPATH = [made.packages, path.join(root, "test/cli/planted")].join(path.delimiter);
  return { ...made, extension: "planted_worker.PlantedExtension", env: { PYTHONPATH } };
}

async function start(): Promise<Server> {
  await allow();
  const made = await Server.start(planted("vllm-tests.log"));
  const look = () => {
    const state = discover().find(({ name }) => name === made.engine)?.state;
    if (state !== undefined && state !== seenAtStart.at(-1)) seenAtStart.push(state);
  };
  await made.ready(look);
  look();
  return made;
}
