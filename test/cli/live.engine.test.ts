import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectEngine, type OpswapClient } from "../../ts-client/src/client/index.js";
import { ask, compare } from "../../ts-client/src/demo/ask.js";
import { type Server, Server as VllmServer } from "../../ts-client/src/demo/server.js";
import type { OpsResult } from "../../ts-client/src/generated/messages.js";
import { opswap, scratch } from "./harness.js";
import { seenAtStart, server, setup } from "./server.js";
import { Terminal } from "./terminal.js";

let vllm: Server;
let client: OpswapClient;

beforeAll(async () => {
  vllm = await server();
  client = await connectEngine({ name: vllm.engine });
});
afterAll(async () => {
  await client?.close();
});

function calls({ ranks }: OpsResult, op: string, impl: string): number {
  const rows = ranks.flatMap((rank) => rank.ops).filter((row) => row.op === op);
  return rows.flatMap((row) => row.impls).find((row) => row.name === impl)?.calls ?? 0;
}

const active = async (op: string) => (await client.why(op)).ranks[0]?.active;

/** What the shadow of rms_norm has seen, judged as an experiment: plainly slower, and equal in numbers. */
async function judged(engine: string[]): Promise<void> {
  const { dir, remove } = scratch();
  const [file, samples] = [path.join(dir, "e.yaml"), path.join(dir, "samples.jsonl")];
  const names = "op: rms_norm, control: cpu, candidate: ref";
  writeFileSync(file, `{kind: Experiment, schema: 1, name: live, ${names}}`);
  try {
    expect((await opswap(["ab", "validate", file, ...engine])).err).toBe("");
    const saved = await opswap(["shadow", "read", "rms_norm", "--samples", samples, ...engine]);
    expect(saved).toMatchObject({ code: 0, out: expect.stringMatching(/: [1-9][\d,]* samples/) });
    const verdict = JSON.parse((await opswap(["ab", "judge", file, "--samples", samples, "--json"])).out);
    expect(verdict.samples).toMatchObject({ control: "cpu", candidate: "ref", engine: engine[1] });
    for (const { bucket, gate, worst } of verdict.buckets) {
      expect(bucket).toMatch(/^T\d+ H1024 bfloat16$/);
      expect(["latency", "numerics", null]).toContain(gate);
      expect(worst).toBeLessThanOrEqual(1);
    }
    expect((await opswap(["ab", "derive", verdict.id])).code).toBe(0);
  } finally {
    remove();
  }
}

describe("a live engine", () => {
  it("answers through opswap's ops, counted per implementation", async () => {
    expect((await ask(vllm.url)).text).toContain("Paris");
    const seen = await client.ops();
    for (const op of [
      "rms_norm",
      "fused_add_rms_norm",
      "silu_and_mul",
      "rotary_embedding",
      "reshape_and_cache",
    ]) {
      expect(calls(seen, op, "cpu"), op).toBeGreaterThan(0);
    }
    expect((await client.doctor()).healthy).toBe(true);
  });

  it("was there under its name while it loaded its model, and answered behind that", () => {
    expect(seenAtStart).toEqual(["starting", "live"]);
  });

  it("keeps its name: a second server is refused before it loads a model", async () => {
    process.env.OPSWAP_ENGINE_NAME = vllm.engine;
    const twin = setup("vllm-twin.log");
    try {
      await (await VllmServer.start(twin)).ended();
    } finally {
      delete process.env.OPSWAP_ENGINE_NAME;
    }
    const log = readFileSync(twin.log, "utf8");
    expect(log).toMatch(
      /opswap: engine \S+ is running already \(process \d+, in .*\[OPSWAP_E_ENGINE_TAKEN\]/,
    );
    expect(log).toContain("OPSWAP_ENGINE_NAME");
    expect(log).not.toMatch(/Traceback|Starting to load model|EngineCore/);
    expect((await client.status()).name).toBe(vllm.engine);
  });

  it("switches by the command line; the other implementation runs and the answer agrees", async () => {
    const before = await ask(vllm.url);
    const counted = calls(await client.ops(), "rotary_embedding", "ref");
    const used = await opswap(["use", "rotary_embedding", "ref", "--engine", vllm.engine, "--json"]);
    expect(used.err).toBe("");
    expect(JSON.parse(used.out).acks).toHaveLength(1);
    const idle = calls(await client.ops(), "rotary_embedding", "cpu");
    const after = await ask(vllm.url);
    expect(compare(before, after).same).toBe(true);
    expect(calls(await client.ops(), "rotary_embedding", "ref")).toBeGreaterThan(counted);
    expect(calls(await client.ops(), "rotary_embedding", "cpu")).toBe(idle);
    await client.use([{ op: "rotary_embedding", impl: "cpu" }]);
  });

  it("refuses what cannot run and goes on with the old kernel", async () => {
    const why = await client.why("attention_decode");
    const absent = why.ranks[0]?.impls.find((impl) => !impl.usable);
    expect(absent?.reason).toBeTruthy();
    const refused = await opswap(["use", "attention_decode", absent?.name ?? "", "--engine", vllm.engine]);
    expect(refused.code).toBe(1);
    expect((await client.ops("attention_decode")).ranks[0]?.ops[0]?.active).toBe("cpu");
    expect((await ask(vllm.url)).text).toContain("Paris");
  });

  it("compares two implementations behind live calls, and serves neither", async () => {
    const engine = ["--engine", vllm.engine];
    const before = await ask(vllm.url);
    const shares = ["--calls", "100%", "--time", "50%"];
    const started = await opswap(["shadow", "start", "rms_norm", "--candidate", "ref", ...shares, ...engine]);
    expect(started).toMatchObject({ code: 0, err: "" });
    expect(started.out).toMatch(/rank 0: rms_norm, ref against cpu, running: 0 calls compared/);
    const calledBefore = calls(await client.ops(), "rms_norm", "ref");
    const during = await ask(vllm.url);
    expect(compare(before, during).same).toBe(true);
    expect(calls(await client.ops(), "rms_norm", "ref")).toBe(calledBefore);
    const read = await opswap(["shadow", "read", "rms_norm", "--json", ...engine]);
    const { records } = JSON.parse(read.out);
    expect(records.length).toBeGreaterThan(5);
    for (const record of records)
      expect(record).toMatchObject({ candidate_status: "OPSWAP_OK", outside: 0, became_nonfinite: 0 });
    await judged(engine);
    const stopped = await opswap(["shadow", "stop", "rms_norm", ...engine]);
    expect(stopped.out).toMatch(/stopped: [1-9][\d,]* calls compared/);
  });

  it("takes a slow candidate back by its verdict", async () => {
    const { dir, remove } = scratch();
    const env = { OPSWAP_STATE_DIR: dir };
    const file = path.join(dir, "slow.yaml");
    const arms = "op: silu_and_mul\ncontrol: cpu\ncandidate: ref";
    const sampling = "sampling: {share: 100%, budget: 50%, first_of_bucket: 50}";
    const analysis = "analysis: {interval: 500ms, timeout: 90s}";
    writeFileSync(file, `kind: Experiment\nschema: 1\nname: slow\n${arms}\n${sampling}\n${analysis}\n`);
    const before = await ask(vllm.url);
    let done = false;
    const traffic = (async () => {
      for (let at = 0; !done; at++)
        expect(compare(before, await ask(vllm.url)).same, `answer ${at}`).toBe(true);
    })();
    try {
      const engine = ["--engine", vllm.engine, "--json"];
      const slow = await opswap(["ab", "run", file, "--guarded", ...engine], env);
      expect(slow.err).toMatch(/samples: fail: .*latency: slower by at least .*\n$/);
      const verdict = JSON.parse(slow.out);
      expect([slow.code, verdict.result, verdict.action]).toEqual([1, "fail", "rollback"]);
      expect(verdict.reason).toMatch(/latency: slower by at least/);
      expect((await client.ops("silu_and_mul")).ranks[0]?.ops[0]?.active).toBe("cpu");
      const all: { action: string; outcome: string; to: unknown; why: string; event?: unknown }[] =
        JSON.parse((await opswap(["audit", "show", "--json"], env)).out);
      const told = all.filter(({ event }) => event === undefined);
      expect(told.map(({ action, outcome, to }) => [action, outcome, to])).toEqual([
        ["use", "asked", { silu_and_mul: "ref" }],
        ["use", "done", { silu_and_mul: "ref" }],
        ["use", "asked", { silu_and_mul: "cpu" }],
        ["use", "done", { silu_and_mul: "cpu" }],
        ["ab verdict slow: fail", "done", {}],
        ["ab run slow", "done", {}],
      ]);
      expect(told[3]?.why).toMatch(/^experiment slow: .*latency/);
      expect((await opswap(["audit", "verify"], env)).code).toBe(0);
      expect((await opswap(["ab", "derive", verdict.id], env)).out).toMatch(/to the bit/);
    } finally {
      done = true;
      await traffic;
      remove();
    }
  });

  it("goes back by itself when an override ends", async () => {
    await client.use([{ op: "rms_norm", impl: "ref" }], { ttlMs: 1_000, owner: "test" });
    expect(await active("rms_norm")).toBe("ref");
    for (let i = 0; i < 200 && (await active("rms_norm")) !== "cpu"; i++) await sleep(50);
    expect(await active("rms_norm")).toBe("cpu");
    const { events } = await client.ask("events", {});
    expect(events.at(-1)).toMatchObject({ kind: "override-ended", owner: "test", to: { rms_norm: "cpu" } });
  });

  it("runs the framework's own kernels after a panic, and answers as before", async () => {
    const before = await ask(vllm.url);
    await client.ask("shadow_start", { op: "rms_norm", control: "cpu", candidate: "ref" });
    const { epoch } = await client.status();
    const { dir, remove } = scratch();
    const run = (...args: string[]) =>
      opswap([...args, "--engine", vllm.engine], { OPSWAP_STATE_DIR: path.join(dir, "state") });
    const panic = await run("panic", "--reason", "a test", "--json");
    expect(panic).toMatchObject({ code: 0, err: "" });
    const { ops, acks, shadows, trouble, isolation, ...done } = JSON.parse(panic.out);
    expect(done.epoch).toBe(epoch + 1);
    expect({ acks: acks.length, shadows, trouble }).toEqual({ acks: 1, shadows: ["rms_norm"], trouble: [] });
    expect(isolation.outcome).toBe("isolated");
    for (const { op, to } of ops) expect(await active(op), op).toBe(to);
    expect(await active("rms_norm")).toBe("framework");
    expect(compare(before, await ask(vllm.url)).same).toBe(true);
    expect((await run("audit", "revert")).err).toBe("");
    expect(await active("rms_norm")).toBe("cpu");
    await client.reset();
    remove();
  });

  it("is watched and switched from the console, in a real terminal", async () => {
    const terminal = new Terminal(["console", "--engine", vllm.engine, "--interval", "300"], {});
    try {
      await terminal.shows(/^live$/m);
      terminal.press("/silu_and_mul\r");
      await terminal.shows(/> silu_and_mul +0 cpu/);
      terminal.press("w");
      await terminal.shows(/framework/);
      terminal.press("\x1b");
      await terminal.shows(/> silu_and_mul/);
      terminal.press("u");
      await terminal.shows(/> ref +usable/);
      terminal.press("\r");
      await terminal.shows(/Switch silu_and_mul from cpu to ref/);
      terminal.press("y");
      await terminal.shows(/rank 0: step \d+, epoch \d+, live; silu_and_mul was cpu/);
      const counted = calls(await client.ops(), "silu_and_mul", "ref");
      expect((await ask(vllm.url)).text).toContain("Paris");
      expect(calls(await client.ops(), "silu_and_mul", "ref")).toBeGreaterThan(counted);
      terminal.press("\x1b");
      await terminal.shows(/> silu_and_mul +0 ref/);
      terminal.press("q");
      expect(await terminal.exited()).toBe(0);
    } finally {
      terminal.close();
    }
  });
});
