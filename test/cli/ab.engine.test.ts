/** Experiments in the background on a real vLLM under load. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectEngine, type OpswapClient } from "../../ts-client/src/client/index.js";
import { ask, compare } from "../../ts-client/src/demo/ask.js";
import type { Server } from "../../ts-client/src/demo/server.js";
import { opswap, scratch } from "./harness.js";
import { server } from "./server.js";

const { dir, remove } = scratch();
const env = { OPSWAP_STATE_DIR: path.join(dir, "state") };
const OP = "silu_and_mul";
let [vllm, client]: [Server, OpswapClient] = [] as never;
let done = false;
let traffic: Promise<void>;

const run = (...args: string[]) => opswap(args, env);
const active = async () => (await client.why(OP)).ranks[0]?.active;
const status = async (name: string) => JSON.parse((await run("ab", "status", name, "--json")).out);

beforeAll(async () => {
  vllm = await server();
  client = await connectEngine({ name: vllm.engine });
  await client.use([{ op: OP, impl: "cpu" }]);
  const before = await ask(vllm.url);
  traffic = (async () => {
    for (let at = 0; !done; at++)
      expect(compare(before, await ask(vllm.url)).same, `answer ${at}`).toBe(true);
  })();
});
afterAll(async () => {
  done = true;
  await traffic;
  await client.use([{ op: OP, impl: "cpu" }]);
  await client.close();
  remove();
});

/** Applies an experiment and starts it. */
async function start(name: string, arms: string, analysis: string, ...how: string[]): Promise<void> {
  const file = path.join(dir, `${name}.yaml`);
  const sampling = "sampling: {share: 100%, budget: 50%}\nguard: {lease: 3s}";
  writeFileSync(
    file,
    `kind: Experiment\nschema: 1\nname: ${name}\nop: ${OP}\n${arms}\n${sampling}\nanalysis: {interval: 500ms, ${analysis}}\n`,
  );
  for (const words of [
    ["apply", "-f", file],
    ["start", name, ...how],
  ]) {
    const ran = await run("ab", ...words, "--engine", vllm.engine);
    expect(ran, `${ran.err}${ran.out}`).toMatchObject({ code: 0, err: "" });
  }
}

describe("an experiment in the background of a live engine", () => {
  it("takes a slow candidate that serves back, within a step of its verdict", async () => {
    await start("slow", "control: cpu\ncandidate: ref", "timeout: 60s", "--guarded");
    const watched = await run("ab", "watch", "slow");
    expect(watched, watched.out).toMatchObject({
      code: 1,
      out: expect.stringMatching(/failed: .*latency: slower by/),
    });
    expect(await active()).toBe("cpu");
    const { taken_back: back } = await status("slow");
    expect(back.step).toBeGreaterThan(back.last_sampled_step);
    expect((await run("ab", "promote", "slow")).code).toBe(1);
  });

  it("goes back by its lease when its controller is killed", async () => {
    const open = "timeout: 60s, metrics: [{name: numerics}]";
    await start("killed", "control: cpu\ncandidate: ref\nbuckets: [T512 I2048 bfloat16]", open, "--guarded");
    expect(await active()).toBe("ref");
    const runs = path.join(env.OPSWAP_STATE_DIR, "experiments", "killed", "runs");
    const file = path.join(runs, readdirSync(runs)[0] ?? "", "run.json");
    process.kill(JSON.parse(readFileSync(file, "utf8")).controller.pid, "SIGKILL");
    for (let left = 300; (await active()) !== "cpu"; left--) {
      expect(left, "the engine does not go back").toBeGreaterThan(0);
      await sleep(100);
    }
    expect((await status("killed")).phase).toBe("lost");
    expect((await client.ask("events", {})).events.at(-1)).toMatchObject({
      kind: "override-ended",
      to: { [OP]: "cpu" },
    });
    expect((await run("ab", "stop", "killed")).code).toBe(0);
  });

  it("never fails an A/A", async () => {
    await start("same", "control: cpu\ncandidate: cpu", "timeout: 5s");
    expect([0, 4]).toContain((await run("ab", "watch", "same")).code);
  });

  it("promotes a good one by its verdict, and tells the whole story", async () => {
    await client.use([{ op: OP, impl: "ref" }]);
    // A shape that came with the first requests alone does not hold it up.
    await start("good", "control: ref\ncandidate: cpu", "timeout: 60s, coverage: 90%");
    const watched = await run("ab", "watch", "good");
    expect(watched, watched.out).toMatchObject({ code: 0, out: expect.stringMatching(/passed: /) });
    expect((await run("ab", "promote", "good", "--ticket", "OPS-1")).code).toBe(0);
    expect(await active()).toBe("cpu");
    const { verdict } = (await status("good")).run;
    const records = JSON.parse((await run("audit", "show", "--json")).out);
    expect(records.at(-1)).toMatchObject({
      action: "ab promote good",
      outcome: "done",
      verdict,
      ticket: "OPS-1",
    });
    expect((await run("audit", "verify")).code).toBe(0);
  });
});
