/** The real `vllm serve` that all engine tests share. */
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { Server } from "../../ts-client/src/demo/server.js";
import { root } from "./harness.js";

/** The folder that its configuration lists for candidates. */
export const candidates = path.join(root, "build/candidates");

let shared: Promise<Server> | undefined;

/** One `vllm serve` for all engine tests of this process; `npm test` runs their files in one. */
export function server(): Promise<Server> {
  shared ??= start();
  return shared;
}

async function start(): Promise<Server> {
  const { OPSWAP_ENGINE_ENV: engine, OPSWAP_MODEL: model } = process.env;
  if (!engine || !model) throw new Error("no engine environment: run these tests by `npm test`");
  process.env.OPSWAP_CANDIDATES = configuration();
  const log = path.join(root, "build/logs/vllm-tests.log");
  const made = await Server.start({ engine, packages: path.join(root, "build/python"), model, log });
  await made.ready(() => {});
  return made;
}

/** What lets the engine take candidates; its user's alone, as it has to be. */
function configuration(): string {
  mkdirSync(candidates, { recursive: true });
  const file = `${candidates}.json`;
  writeFileSync(file, JSON.stringify({ folders: [candidates] }), { mode: 0o600 });
  return file;
}
