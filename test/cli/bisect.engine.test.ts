/** `opswap bisect` on a real engine, whose ranks have wrong kernels planted (planted/planted_worker.py). */
import { statSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Completions } from "../../ts-client/src/bisect/completions.js";
import { connectEngine, type OpswapClient } from "../../ts-client/src/client/index.js";
import type { Server } from "../../ts-client/src/demo/server.js";
import { opswap, scratch } from "./harness.js";
import { ON_SGLANG, server } from "./server.js";

const PROMPT = "Water boils at 100 degrees Celsius. The reason is that";
const TOKENS = 8;
const { dir, remove } = scratch();
let served: Server;
let client: OpswapClient;

beforeAll(async () => {
  served = await server();
  client = await connectEngine({ name: served.engine });
});
afterAll(async () => {
  await client?.close();
  remove();
});

/** Tokens and their log-probabilities, asked for without opswap. */
async function answer(): Promise<{ token: string; logprob: number }[]> {
  const how = { max_tokens: TOKENS, temperature: 0, logprobs: 5, prompt_logprobs: 0, ignore_eos: true };
  const response = await fetch(`${served.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "smollm2", prompt: PROMPT, cache_salt: `${Math.random()}`, ...how }),
  });
  const { tokens, token_logprobs: logprobs } =
    ((await response.json()) as { choices: Choice[] }).choices[0]?.logprobs ?? {};
  return (tokens ?? []).map((token, i) => ({ token, logprob: logprobs?.[i] ?? Number.NaN }));
}
interface Choice {
  logprobs: { tokens: string[]; token_logprobs: number[] };
}

async function planted(ops: string[]) {
  await client.use(ops.map((op) => ({ op, impl: "planted" })));
  const before = await client.status();
  const args = ["bisect", "--prompt", PROMPT, "--tokens", `${TOKENS}`, "--engine", served.engine, "--json"];
  const ran = await opswap(args, { OPSWAP_STATE_DIR: path.join(dir, "state") });
  const { choice, overrides } = await client.status();
  expect({ choice, overrides }).toEqual({ choice: before.choice, overrides: [] });
  expect(ran.code, ran.err).toBe(1);
  return JSON.parse(ran.out);
}

/** Log-probabilities of the prompt's tokens, as the engine tells them in its own way. */
async function ofPrompt(): Promise<(number | null)[]> {
  const params = { temperature: 0, max_new_tokens: 1 };
  const [where, body] = ON_SGLANG
    ? ["generate", { text: PROMPT, sampling_params: params, return_logprob: true, logprob_start_len: 0 }]
    : ["v1/completions", { model: "smollm2", prompt: PROMPT, max_tokens: 1, prompt_logprobs: 0 }];
  const response = await fetch(`${served.url}/${where}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const told = (await response.json()) as Told;
  if (told.meta_info) return told.meta_info.input_token_logprobs.map(([logprob]) => logprob);
  return told.choices[0].prompt_logprobs.map((one) => Object.values(one ?? {})[0]?.logprob ?? null);
}
interface Told {
  meta_info?: { input_token_logprobs: [number | null, number, string][] };
  choices: [{ prompt_logprobs: (Record<string, { logprob: number }> | null)[] }];
}

describe("opswap bisect on a real engine", () => {
  it("compares the log-probabilities of the prompt too", async () => {
    const { prompt, tokens } = await (await Completions.at(served.url)).answer(PROMPT, TOKENS);
    expect(tokens.map(({ text }) => text)).toEqual((await answer()).map(({ token }) => token));
    const expected = await ofPrompt();
    expect([prompt.length > TOKENS, prompt[0], prompt.length]).toEqual([true, null, expected.length]);
    for (const [i, logprob] of prompt.slice(1).entries())
      expect(logprob, `token ${i + 1}`).toBeCloseTo(expected[i + 1] ?? Number.NaN, 1);
  });

  it("names the op, the first other token, the call and its input, and puts all back", async () => {
    const right = await answer();
    const report = await planted(["silu_and_mul"]);
    const wrong = await answer();
    const index = right.findIndex(({ token }, i) => token !== wrong[i]?.token);
    expect(report.guilty).toMatchObject([{ ops: ["silu_and_mul"], without: "now" }]);
    const { divergence } = report.guilty[0].alone.silu_and_mul;
    expect([divergence.index, divergence.now]).toEqual([index, wrong[index]]);
    // `ref` rounds otherwise than `cpu`.
    expect(divergence.other.token).toBe(right[index]?.token);
    expect(divergence.other.logprob).toBeCloseTo(right[index]?.logprob ?? 0, 0);
    expect(report.replays.untilNamed).toBeLessThanOrEqual(Math.ceil(Math.log2(report.tested.length)) + 1);
    expect(report.untested).toMatchObject([
      { op: "paged_attention", reason: expect.stringMatching(/made of/) },
    ]);
    const [located] = report.located;
    expect(located).toMatchObject({
      op: "silu_and_mul",
      notes: [],
      recorded: { layer: located.worst.layer },
    });
    expect(located.wrong).toBe(located.compared);
    expect(statSync(located.recorded.file).mode & 0o777).toBe(0o600);
    const again = await opswap(["replay", located.recorded.file, "--impl", "ref,cpu", "--local"]);
    expect(again.code, again.err).toBe(0);
    await client.use([{ op: "silu_and_mul", impl: "cpu" }]);
    expect(await answer()).toEqual(right);
  });

  // The search does not depend on the engine: one of them is enough for its minutes.
  const two = async () => {
    const report = await planted(["linear", "rotary_embedding"]);
    expect(report.guilty).toMatchObject([{ ops: ["linear", "rotary_embedding"], without: "now" }]);
    expect(report.replays.untilNamed).toBeLessThanOrEqual(2 * Math.ceil(Math.log2(report.tested.length)) + 2);
    for (const { bucket, wrong, compared } of report.located[0].buckets)
      expect([bucket, wrong]).toEqual([bucket, bucket.startsWith("M1 ") ? compared : 0]);
    await client.use(["linear", "rotary_embedding"].map((op) => ({ op, impl: "cpu" })));
  };
  if (!ON_SGLANG) it("names two, one of which is wrong in the bucket of one token alone", two);
});
