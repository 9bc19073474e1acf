/** docs/ab.md, line by line, on a real vLLM with traffic: what an operator is told to type does what the page says. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectEngine, type OpswapClient } from "../../ts-client/src/client/index.js";
import { ask } from "../../ts-client/src/demo/ask.js";
import type { Server } from "../../ts-client/src/demo/server.js";
import { Traffic } from "../../ts-client/src/demo/traffic.js";
import { opswap, root, scratch } from "./harness.js";
import { CANDIDATES, server } from "./server.js";

const PAGE = readFileSync(path.join(root, "docs/ab.md"), "utf8");
const { dir, remove } = scratch();
/** Recordings of live calls have to come before they are stopped. */
const RECORDED_MS = 3_000;

let [vllm, client, traffic]: [Server, OpswapClient, Traffic] = [] as never;

beforeAll(async () => {
  vllm = await server();
  client = await connectEngine({ name: vllm.engine });
  traffic = new Traffic(vllm.url, await ask(vllm.url));
  for (const { file, text } of files()) {
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
});
afterAll(async () => {
  const { answers, differing, failures } = await traffic.stop();
  await client.use([
    { op: "fused_add_rms_norm", impl: "cpu" },
    { op: "silu_and_mul", impl: "cpu" },
  ]);
  await client.close();
  remove();
  expect({ differing, failures }).toEqual({ differing: 0, failures: [] });
  expect(answers).toBeGreaterThan(10);
});

/** As the page names folders, where the test has them. */
const placed = (text: string) => text.replaceAll("/home/me/kernels", CANDIDATES);

/** Blocks behind the name of a file. */
function files(): { file: string; text: string }[] {
  const named = PAGE.matchAll(/^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$/gms);
  return [...named].map(([, name = "", text = ""]) => ({ file: path.resolve(dir, placed(name)), text }));
}

/** Lines of opswap, with what is said of their exit. */
function commands(): { line: string; words: string[]; code: number }[] {
  return [...PAGE.matchAll(/^npx opswap (.*)$/gm)].map(([, line = ""]) => {
    const [said = "", comment = ""] = line.split(/\s{2,}# /);
    const words = [...placed(said).matchAll(/"([^"]*)"|(\S+)/g)].map(
      ([, quoted, word]) => quoted ?? word ?? "",
    );
    return { line, words, code: /exits with (\d)/.test(comment) ? Number(RegExp.$1) : 0 };
  });
}

describe("docs/ab.md", () => {
  const env = { OPSWAP_STATE_DIR: path.join(dir, "state") };
  const active = async (op: string) => (await client.ops(op)).ranks[0]?.ops[0]?.active;
  /** What runs after a line of the page, by its first words. */
  const AFTER: Record<string, () => Promise<void>> = {
    "ab start add-norm-cpu --guarded": async () => expect(await active("fused_add_rms_norm")).toBe("cpu"),
    "ab promote add-norm-cpu": async () =>
      expect((await client.status()).choice).toMatchObject({ fused_add_rms_norm: "cpu" }),
    "ab watch add-norm-ref": async () => expect(await active("fused_add_rms_norm")).toBe("cpu"),
    "audit revert": async () => expect(await active("fused_add_rms_norm")).toBe("cpu"),
    "record start": () => sleep(RECORDED_MS),
  };

  it("has commands and files", () => {
    expect(commands().length).toBeGreaterThan(20);
    expect(files().map(({ file }) => path.basename(file))).toEqual([
      "add-norm-cpu.yaml",
      "add-norm-ref.yaml",
      "swiglu.py",
    ]);
  });

  it.each(commands())("$line", async ({ line, words, code }) => {
    const given = words.map((word) => (word.endsWith(".yaml") ? path.join(dir, word) : word));
    const ran = await opswap(given, env);
    expect(ran, `${ran.out}\n${ran.err}`).toMatchObject({ code });
    for (const [begin, check] of Object.entries(AFTER)) if (line.startsWith(begin)) await check();
  });

  it("leaves an audit that tells the story", async () => {
    const told: { outcome: string; to: Record<string, string>; event?: unknown }[] = JSON.parse(
      (await opswap(["audit", "show", "--json"], env)).out,
    );
    // What the engine did by itself before is not of this page.
    const done = told.filter(({ outcome, event }) => outcome === "done" && event === undefined);
    const switches = done.map(({ to }) => to.fused_add_rms_norm).filter(Boolean);
    expect(switches.slice(0, 3)).toEqual(["ref", "cpu", "cpu"]);
    expect((await opswap(["audit", "verify"], env)).code).toBe(0);
  });
});
