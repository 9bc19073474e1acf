/** `opswap bisect` against a real agent over fake ranks, with a stand-in for the engine's HTTP server. */
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { connectEngine } from "../../ts-client/src/client/index.js";
import { cli, opswap, root, Server, scratch } from "./harness.js";

const { dir, remove } = scratch();
const env = { OPSWAP_RUNTIME_DIR: dir, OPSWAP_STATE_DIR: path.join(dir, "state") };
afterAll(remove);

const PROMPT = ["--prompt", "What is it?"];
const TESTED = 7;
const script = path.join(root, "test/cli/answering_engine.py");

/** Works with an engine of this name that has these guilty ops. */
async function withEngine(name: string, words: string[], work: () => Promise<void>): Promise<void> {
  const engine = await Server.python([script, name, ...words], env);
  try {
    await work();
  } finally {
    await engine.stop();
  }
}

/** What runs and what is pinned. */
async function standing(name: string) {
  const client = await connectEngine({ name, runtimeDir: dir });
  try {
    const { choice, overrides, epoch } = await client.status();
    const active = (await client.ops()).ranks.flatMap(({ ops }) => ops.map((row) => row.active));
    return { choice, overrides, epoch, active: [...new Set(active)] };
  } finally {
    await client.close();
  }
}

/** A bisect that gets a signal when all ops run on the yardstick. */
async function signalled(signal: NodeJS.Signals): Promise<{ code: number | null; told: string }> {
  const child = spawn(process.execPath, [cli, "bisect", ...PROMPT], { env: { ...process.env, ...env } });
  let told = "";
  let isSent = false;
  child.stderr.on("data", (chunk) => {
    told += chunk;
    if (isSent || !/^all on ref: moves/m.test(told)) return;
    isSent = child.kill(signal);
  });
  const code = await new Promise<number | null>((done) => child.on("close", done));
  return { code, told };
}

const UNTOUCHED = { choice: {}, overrides: [], active: ["cpu"] };

describe("opswap bisect", () => {
  it.each([
    ["one", ["silu_and_mul"], 1],
    ["two", ["rms_norm", "sample"], 2],
  ])("names %s guilty, how much each moves, and puts all back", async (name, guilty, share) => {
    await withEngine(name, ["--guilty", guilty.join()], async () => {
      const ran = await opswap(["bisect", ...PROMPT, "--engine", name, "--json"], env);
      expect(ran.code).toBe(1);
      const report = JSON.parse(ran.out);
      expect(report.guilty).toMatchObject([{ ops: guilty.toSorted(), without: "now" }]);
      for (const [i, op] of guilty.entries()) {
        // As the stand-in has it: 2^i off, and the i-th token, unless an earlier one is wrong already.
        expect(report.guilty[0].alone[op].distance).toBeCloseTo(2 ** i, 9);
        expect(report.guilty[0].alone[op].divergence.index).toBe(i);
      }
      expect(report.replays.untilNamed).toBeLessThanOrEqual(share * Math.ceil(Math.log2(TESTED)) + share);
      expect(report.tested).toHaveLength(TESTED);
      expect(report.untested).toEqual([{ op: "cache", reason: "it has no ref" }]);
      expect(report.located[0].notes).toEqual([
        expect.stringMatching(/no calls are compared.*no shadows/),
        expect.stringMatching(/no inputs are kept.*OPSWAP_RECORDINGS/),
      ]);
      expect(await standing(name)).toMatchObject(UNTOUCHED);
      const audit = JSON.parse((await opswap(["audit", "show", "--json"], env)).out);
      const mine = audit.filter((record: { engine: string }) => record.engine === name);
      expect(mine[0]).toMatchObject({ action: "bisect against ref", outcome: "asked" });
      expect(mine.at(-1)).toMatchObject({
        outcome: "done",
        why: `the output is moved by ${guilty.toSorted().join(", ")}`,
      });
      expect(mine.filter((record: { action: string }) => record.action === "use").length).toBeGreaterThan(4);
    });
  });

  it("finds what moves the log-probabilities of the prompt alone", async () => {
    await withEngine("prompt", ["--guilty", "add", "--in-prompt"], async () => {
      const report = JSON.parse((await opswap(["bisect", ...PROMPT, "--json"], env)).out);
      expect(report.guilty).toMatchObject([{ ops: ["add"], without: "now" }]);
      expect(report.guilty[0].alone.add).toMatchObject({ divergence: null, distance: 1 });
    });
  });

  it("says in words what it found, and that nothing moves an output", async () => {
    await withEngine("words", ["--guilty", "linear"], async () => {
      const found = await opswap(["bisect", ...PROMPT], env);
      expect(found.out).toMatch(/^linear: on ref the output is as with all on ref \(1\.000 from now\)$/m);
      expect(found.out).toMatch(
        /linear alone moves the output: by 1\.000; first other token at 0: "Paris!" \(-1\.500\) now, "Paris" \(-0\.500\)/,
      );
      expect(found.out).toMatch(/^ {2}cache: it has no ref$/m);
      const none = await opswap(["bisect", ...PROMPT, "--ops", "rms_norm,sample,idle"], env);
      expect(none).toMatchObject({
        code: 0,
        out: expect.stringMatching(/^no op moves the output: with all 2 tested ops/),
      });
      expect(none.out).toMatch(/idle: the engine does not call it for this prompt/);
      expect(await standing("words")).toMatchObject(UNTOUCHED);
    });
  });

  it("names an op with which the server can make no answer", async () => {
    await withEngine("failing", ["--fails", "sample"], async () => {
      const report = JSON.parse((await opswap(["bisect", ...PROMPT, "--json"], env)).out);
      expect(report.guilty).toMatchObject([{ ops: ["sample"], without: "now" }]);
      const told = await opswap(["bisect", ...PROMPT], env);
      expect(told.out).toMatch(
        /sample alone moves the output: by beyond all numbers; one of both gave no answer/,
      );
    });
  });

  it("runs the lines of docs/bisect.md", async () => {
    const page = readFileSync(path.join(root, "docs/bisect.md"), "utf8");
    const lines = [...page.matchAll(/^npx opswap (bisect .*?)(?: +#.*)?$/gm)].map(([, line = ""]) => line);
    expect(lines).toHaveLength(3);
    const file = path.join(dir, "bad.txt");
    writeFileSync(file, "What is it?");
    await withEngine("page", ["--guilty", "linear"], async () => {
      for (const line of lines) {
        const words = [...line.matchAll(/"(.*?)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "");
        const ran = await opswap(
          words.map((word) => (word === "bad.txt" ? file : word)),
          env,
        );
        expect([ran.code, ran.out], line).toEqual([1, expect.stringMatching(/linear/)]);
      }
    });
  });

  it("refuses an engine that serves others, unless it is told to go on", async () => {
    await withEngine("busy", ["--guilty", "add", "--busy"], async () => {
      const refused = await opswap(["bisect", ...PROMPT], env);
      expect([refused.code, refused.err]).toEqual([
        1,
        expect.stringMatching(/serves other requests.*OPSWAP_E_BUSY/),
      ]);
      expect(await standing("busy")).toMatchObject({ ...UNTOUCHED, epoch: 0 });
      const told = await opswap(["bisect", ...PROMPT, "--yes", "--json"], env);
      expect(JSON.parse(told.out).guilty).toMatchObject([{ ops: ["add"] }]);
    });
  });

  it("puts all back when it is interrupted", async () => {
    await withEngine("stopped", ["--guilty", "add"], async () => {
      const { code, told } = await signalled("SIGINT");
      expect([code, told]).toEqual([1, expect.stringMatching(/it was interrupted.*OPSWAP_E_BISECT/)]);
      expect(await standing("stopped")).toMatchObject(UNTOUCHED);
    });
  });

  it("leaves overrides that the engine ends by itself when it is killed, and refuses to begin beside them", async () => {
    await withEngine("killed", ["--guilty", "add"], async () => {
      expect((await signalled("SIGKILL")).code).toBe(null);
      const { overrides } = await standing("killed");
      expect(overrides).toHaveLength(TESTED);
      for (const override of overrides)
        expect(override).toMatchObject({ returns_to: "cpu", ttl_ms: 120_000 });
      const again = await opswap(["bisect", ...PROMPT], env);
      expect([again.code, again.err]).toEqual([1, expect.stringMatching(/an override.*OPSWAP_E_BUSY/)]);
    });
  });

  it("refuses an address elsewhere, one that does not answer, and names that are not there", async () => {
    await withEngine("named", [], async () => {
      const bisect = (...words: string[]) => opswap(["bisect", ...PROMPT, ...words], env);
      const elsewhere = await bisect("--url", "http://192.0.2.1:8000");
      expect([elsewhere.code, elsewhere.err]).toEqual([
        2,
        expect.stringMatching(/loopback address; got http:\/\/192/),
      ]);
      const silent = await bisect("--url", "http://127.0.0.1:9");
      expect([silent.code, silent.err]).toEqual([3, expect.stringMatching(/OPSWAP_E_ENDPOINT/)]);
      const misspelt = await bisect("--ops", "liner");
      expect([misspelt.code, misspelt.err]).toEqual([2, expect.stringMatching(/did you mean linear/)]);
      const none = await bisect("--against", "sm90");
      expect([none.code, none.err]).toEqual([
        1,
        expect.stringMatching(/no op can be tested.*no usable CUDA device/),
      ]);
      expect(await standing("named")).toMatchObject({ ...UNTOUCHED, epoch: 0 });
    });
  });
});
