/** Kernels of a user on a real engine under load: good, wrong, not finite, crashing, and wrong in a rare shape alone; and a second build. */
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectEngine, type OpswapClient } from "../../ts-client/src/client/index.js";
import { ask } from "../../ts-client/src/demo/ask.js";
import type { Server } from "../../ts-client/src/demo/server.js";
import { Traffic } from "../../ts-client/src/demo/traffic.js";
import { opswap, type Ran, root, scratch } from "./harness.js";
import { CANDIDATES, KEY, ON_SGLANG, RECORDINGS, server } from "./server.js";

const OP = "silu_and_mul";
/** The first is the worked example of docs/candidates.md. */
const SOURCES = {
  good: "examples/silu_by_sigmoid.py",
  wrong: "test/cli/kernels/swiglu_wrong.py",
  nan: "test/cli/kernels/swiglu_nan.py",
  crash: "test/cli/kernels/swiglu_crash.py",
  rare: "test/cli/kernels/swiglu_rare.py",
};
type Kernel = keyof typeof SOURCES;
/** What quarantine bars does not depend on the engine: on SGLang one of them is enough. */
const BARRED = (
  [
    ["wrong", /tolerance|wrong/],
    ["nan", /finite/],
    ["crash", /SIGSEGV|crash/],
  ] as const
).filter(([kernel]) => !ON_SGLANG || kernel === "crash");
const KERNELS: readonly Kernel[] = ["good", ...BARRED.map(([kernel]) => kernel), "rare"];

const { dir, remove } = scratch();
const env = { OPSWAP_STATE_DIR: path.join(dir, "state") };
let [served, client, traffic]: [Server, OpswapClient, Traffic] = [] as never;

/** A verb on this engine, with its output as the message of a failure. */
async function run(words: readonly string[], code = 0): Promise<Ran> {
  const ran = await opswap([...words, "--engine", served.engine], env);
  expect(ran, `opswap ${words.join(" ")}\n${ran.out}${ran.err}`).toMatchObject({ code });
  return ran;
}
const active = async () => (await client.ops(OP)).ranks[0]?.ops[0]?.active;

beforeAll(async () => {
  served = await server();
  client = await connectEngine({ name: served.engine });
  for (const kernel of KERNELS) {
    const file = path.join(CANDIDATES, `story_${kernel}.py`);
    copyFileSync(path.join(root, SOURCES[kernel]), file);
    await run(["register", file, "--op", OP, "--as", kernel]);
  }
  traffic = new Traffic(served.url, await ask(served.url));
  await client.use([{ op: OP, impl: "cpu" }]);
  await run(["record", "start", OP]);
  while (!readdirSync(RECORDINGS).some((name) => name.includes(OP))) await sleep(200);
  await run(["record", "stop", OP]);
});
afterAll(async () => {
  const { differing, failures } = await traffic.stop();
  await client.use([{ op: OP, impl: "cpu" }]);
  await client.close();
  remove();
  expect({ differing, failures }).toEqual({ differing: 0, failures: [] });
});

const digest = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex");
const goodDigest = digest(path.join(root, SOURCES.good));

/** A kernel in Python is slower, which is not asked. */
const NUMBERS = ", metrics: [{name: safety}, {name: numerics}]";

/** An experiment with `candidate`, applied. */
async function applied(candidate: string, extra = ""): Promise<string> {
  const name = `story-${candidate.replace("@", "-")}`;
  const file = path.join(dir, `${name}.yaml`);
  const arms = `op: ${OP}\ncontrol: cpu\ncandidate: ${candidate}`;
  const how = `sampling: {share: 100%, budget: 50%}\nanalysis: {interval: 500ms, timeout: 60s, coverage: 90%${extra}}`;
  writeFileSync(file, `kind: Experiment\nschema: 1\nname: ${name}\n${arms}\n${how}\n`);
  await run(["ab", "apply", "-f", file]);
  return name;
}

/** What the verdict of the experiment's last run was found from. */
async function samplesOf(name: string) {
  const { run: ended } = JSON.parse((await opswap(["ab", "status", name, "--json"], env)).out);
  const file = path.join(dir, "state/verdicts", ended.verdict, "verdict.json");
  return JSON.parse(readFileSync(file, "utf8")).samples;
}

describe("a user's kernel on a live engine", () => {
  it("is listed, with its digest, and does not serve before it was in quarantine", async () => {
    const listed = JSON.parse((await run(["candidates", OP, "--json"])).out).candidates;
    expect(listed).toContainEqual(
      expect.objectContaining({ impl: "good", kind: "python", digest: goodDigest }),
    );
    expect(new Set(listed.map(({ kind }: { kind: string }) => kind))).toEqual(
      new Set(["library", "engine", "python"]),
    );
    const refused = await run(["use", OP, "good"], 1);
    expect(refused.err).toMatch(/OPSWAP_E_QUARANTINE/);
    expect(await active()).toBe("cpu");
  });

  it.each(BARRED)("never serves where it is %s", async (kernel, why) => {
    const barred = await run(["quarantine", OP, kernel], 1);
    expect(barred.out + barred.err).toMatch(why);
    expect((await run(["use", OP, kernel], 1)).err).toMatch(/OPSWAP_E_BARRED/);
    expect(await active()).toBe("cpu");
  });

  it("serves where it is good, after quarantine and beside control; what it costs is found", async () => {
    await run(["quarantine", OP, "good"]);
    const name = await applied("good", NUMBERS);
    await run(["ab", "start", name, "--guarded"]);
    await expect.poll(active, { timeout: 60_000 }).toBe("good");
    expect((await opswap(["ab", "watch", name], env)).code).toBe(0);
    const samples = await samplesOf(name);
    expect(samples).toMatchObject({ candidate: "good", candidate_digest: goodDigest });
    expect(samples.candidate_dispatch_ns).toBeGreaterThan(0);
    await run(["ab", "promote", name]);
    expect((await client.status()).choice).toMatchObject({ [OP]: "good" });
    await run(["use", OP, "cpu"]);
  });

  it("is taken back where it is wrong in a rare shape alone", async () => {
    await run(["quarantine", OP, "rare"]);
    const name = await applied("rare", NUMBERS);
    await run(["ab", "start", name, "--guarded"]);
    await expect.poll(active, { timeout: 60_000 }).toBe("rare");
    await ask(served.url, `${"the same words again and again, ".repeat(30)} What is the capital of France?`);
    const watched = await opswap(["ab", "watch", name], env);
    expect(watched, watched.out + watched.err).toMatchObject({ code: 1 });
    expect(watched.out + watched.err).toMatch(/failed: T(?:256|512) I2048 bfloat16: numerics/);
    expect(await active()).toBe("cpu");
    await run(["ab", "promote", name], 1);
  });
});

describe("a second build on a live engine", () => {
  const folder = path.join(CANDIDATES, "build");
  const sign = (key: string) =>
    opswap(["build-key", "sign", folder, "--key", key, "--name", "second"]).then(({ code }) => {
      expect(code).toBe(0);
    });

  it("is refused where a stranger has signed it", async () => {
    const { OPSWAP_SECOND_BUILD: library } = process.env;
    if (!library) throw new Error("no second build: run these tests by `npm test`");
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    copyFileSync(library, path.join(folder, "libopswap.so"));
    const stranger = path.join(dir, "stranger.key");
    await opswap(["build-key", "new", stranger]);
    await sign(stranger);
    expect((await run(["register", folder], 1)).err).toMatch(
      /is not signed by a key that this engine trusts.*OPSWAP_E_SIGNATURE/,
    );
  });

  it("is registered beside the first, passes quarantine, is compared, and taken back as it is slower", async () => {
    await sign(KEY);
    await run(["register", folder]);
    const candidate = "cpu@second";
    expect((await run(["use", OP, candidate], 1)).err).toMatch(/OPSWAP_E_QUARANTINE/);
    await run(["quarantine", OP, candidate]);
    const name = await applied(candidate);
    await run(["ab", "start", name, "--guarded"]);
    const watched = await opswap(["ab", "watch", name], env);
    expect(watched, watched.out + watched.err).toMatchObject({ code: 1 });
    expect(watched.out).toMatch(/failed: .*latency: slower by/);
    expect(await active()).toBe("cpu");
    expect((await samplesOf(name)).candidate_digest).toBe(digest(path.join(folder, "libopswap.so")));
  });
});

describe("all of it", () => {
  it("is in the audit, which verifies", async () => {
    const told = JSON.parse((await opswap(["audit", "show", "--json"], env)).out);
    const actions = told.map(
      ({ action, outcome }: { action: string; outcome: string }) => `${action}: ${outcome}`,
    );
    for (const expected of [
      /register.*done/,
      /quarantine.*/,
      /ab start story-good.*/,
      /ab promote story-good.*done/,
    ])
      expect(actions).toContainEqual(expect.stringMatching(expected));
    expect((await opswap(["audit", "verify"], env)).code).toBe(0);
  });
});
