/** docs/engines, line by line, on a running engine: what a user is told to type proves that opswap's ops run. */
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectEngine, type OpswapClient } from "../../ts-client/src/client/index.js";
import { ask } from "../../ts-client/src/demo/ask.js";
import { MODEL_NAME } from "../../ts-client/src/demo/launch.js";
import { commands, page } from "./engine-pages.js";
import { opswap, scratch } from "./harness.js";
import { ON_SGLANG, server } from "./server.js";

/** Pages whose engine these tests have, and how it is started. */
const RUNNING = { [ON_SGLANG ? "sglang" : "vllm"]: server };
const OP = "rms_norm";

/** A request without log-probabilities, which would take another sampler. */
async function plain(url: string): Promise<void> {
  const body = JSON.stringify({ model: MODEL_NAME, prompt: "1, 2, 3,", max_tokens: 4, temperature: 0 });
  const headers = { "content-type": "application/json" };
  expect((await fetch(`${url}/v1/completions`, { method: "POST", headers, body })).ok).toBe(true);
}

describe.each(Object.entries(RUNNING))("docs/engines/%s.md", (name, start) => {
  const { dir, remove } = scratch();
  const env = { OPSWAP_STATE_DIR: path.join(dir, "state") };
  let [url, client, before]: [string, OpswapClient, string] = ["", undefined as never, ""];

  beforeAll(async () => {
    const { url: where, engine } = await start();
    url = where;
    client = await connectEngine({ name: engine });
    before = (await ask(url)).text;
    await plain(url);
  });
  afterAll(async () => {
    await client?.close();
    remove();
  });

  const calls = async (impl: string) => {
    const rows = (await client.ops(OP)).ranks[0]?.ops[0]?.impls ?? [];
    return rows.find((row) => row.name === impl)?.calls ?? 0;
  };

  /** What is true after a line, by its first words. */
  const AFTER: Record<string, (out: string) => Promise<void>> = {
    doctor: async (out) => expect(out).toMatch(/in use: every installed seam was used.*^healthy$/ms),
    [`use ${OP} ref`]: async () => {
      const [ref, cpu] = [await calls("ref"), await calls("cpu")];
      expect((await ask(url)).text).toBe(before);
      expect(await calls("ref")).toBeGreaterThan(ref);
      expect(await calls("cpu")).toBe(cpu);
    },
    [`reset ${OP}`]: async () => expect((await client.ops(OP)).ranks[0]?.ops[0]?.active).toBe("cpu"),
    audit: async (out) => expect(out).toMatch(/a proof/),
  };

  it.each(commands(page(name)))("$line", async ({ line, words }) => {
    const ran = await opswap(words, env);
    expect(ran, `${ran.out}\n${ran.err}`).toMatchObject({ code: 0 });
    for (const [begin, check] of Object.entries(AFTER)) if (line.startsWith(begin)) await check(ran.out);
  });
});
