/** The real `vllm serve` that all engine tests share. */
import path from "node:path";
import { discover } from "../../ts-client/src/client/index.js";
import { Server, type Setup } from "../../ts-client/src/demo/server.js";
import { root } from "./harness.js";

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

async function start(): Promise<Server> {
  const made = await Server.start(setup("vllm-tests.log"));
  const look = () => {
    const state = discover().find(({ name }) => name === made.engine)?.state;
    if (state !== undefined && state !== seenAtStart.at(-1)) seenAtStart.push(state);
  };
  await made.ready(look);
  look();
  return made;
}
