/** The real server that all engine tests share: vLLM's, or SGLang's where OPSWAP_TEST_ENGINE says so. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { discover } from "../../ts-client/src/client/index.js";
import type { Setup } from "../../ts-client/src/demo/launch.js";
import { Server } from "../../ts-client/src/demo/server.js";
import { SGLANG } from "../../ts-client/src/demo/sglang.js";
import { opswap, root } from "./harness.js";

/** A folder of its own, so that no other engine of this machine is found by a verb that names none. */
const own = mkdtempSync(path.join(tmpdir(), "ow"));
process.once("exit", () => rmSync(own, { recursive: true, force: true }));
/** Whether these tests run on SGLang. */
export const ON_SGLANG = process.env.OPSWAP_TEST_ENGINE === "sglang";
/** From here the engine takes in kernels of its user, and builds that are signed with KEY. */
export const CANDIDATES = path.join(own, "kernels");
export const KEY = path.join(own, "test.key");
/** Here it records. */
export const RECORDINGS = path.join(own, "recordings");

let shared: Promise<Server> | undefined;

/** How `opswap status` saw it while it loaded its model, and in the end. */
export const seenAtStart: string[] = [];

/** One server for all engine tests of this process; `npm test` runs their files in one. */
export function server(): Promise<Server> {
  shared ??= start();
  return shared;
}

/** Where its pieces are; `log` is the name of its log. */
export function setup(log: string): Setup {
  const { OPSWAP_ENGINE_ENV: engine, OPSWAP_MODEL: model } = process.env;
  if (!engine || !model) throw new Error("no engine environment: run these tests by `npm test`");
  return {
    ...(ON_SGLANG && { launch: SGLANG, env: sglang(RIG) }),
    engine,
    packages: path.join(root, "build/python"),
    model,
    log: path.join(root, "build/logs", log),
  };
}

/** Folders of plugins of SGLang's. The first has it run without a GPU. */
const RIG = { opswap_cpu_rig: "test/adapters/sglang/rig" };
const PLANTED = { opswap_planted: "test/cli/planted" };

/** What has SGLang load plugins of these tests besides opswap. */
function sglang(plugins: Record<string, string>): NodeJS.ProcessEnv {
  const folders = ["build/python", ...Object.values(plugins)].map((folder) => path.join(root, folder));
  const SGLANG_PLUGINS = ["opswap", ...Object.keys(plugins)].join();
  return { SGLANG_PLUGINS, PYTHONPATH: folders.join(path.delimiter) };
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
  if (ON_SGLANG) return { ...made, env: sglang({ ...RIG, ...PLANTED }) };
  const PYTHONPATH = [made.packages, path.join(root, "test/cli/planted")].join(path.delimiter);
  return { ...made, extension: "planted_worker.PlantedExtension", env: { PYTHONPATH } };
}

async function start(): Promise<Server> {
  await allow();
  const made = await Server.start(planted(`${ON_SGLANG ? "sglang" : "vllm"}-tests.log`));
  const look = () => {
    const state = discover().find(({ name }) => name === made.engine)?.state;
    if (state !== undefined && state !== seenAtStart.at(-1)) seenAtStart.push(state);
  };
  await made.ready(look);
  look();
  return made;
}
