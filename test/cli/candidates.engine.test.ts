/** The worked example of docs/candidates.md on a real engine: registered, shadowed and switched to. */
import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { connectEngine, type OpswapClient } from "../../ts-client/src/client/index.js";
import { ask, compare } from "../../ts-client/src/demo/ask.js";
import type { Server } from "../../ts-client/src/demo/server.js";
import { opswap, root, scratch } from "./harness.js";
import { CANDIDATES, server } from "./server.js";

let vllm: Server;
let client: OpswapClient;
const { dir, remove } = scratch();

beforeAll(async () => {
  vllm = await server();
  client = await connectEngine({ name: vllm.engine });
});
afterAll(async () => {
  await client?.close();
  await vllm?.stop();
  remove();
});

/** Calls that the engine's ranks have made of an implementation of silu_and_mul. */
async function calls(name: string): Promise<number> {
  const { ranks } = await client.ops("silu_and_mul");
  return ranks[0]?.ops[0]?.impls.find((impl) => impl.name === name)?.calls ?? 0;
}

it("takes a user's own Python kernel, compares it behind live calls, and serves by it", async () => {
  const engine = ["--engine", vllm.engine];
  const file = path.join(CANDIDATES, "silu.py");
  copyFileSync(path.join(root, "examples/silu_by_sigmoid.py"), file);
  chmodSync(file, 0o600);
  const digest = createHash("sha256").update(readFileSync(file)).digest("hex");
  const before = await ask(vllm.url);

  const ran = await opswap(["register", file, "--op", "silu_and_mul", "--as", "mine", ...engine]);
  expect(ran).toMatchObject({ code: 0, err: "" });
  expect(ran.out).toMatch(/^ +silu_and_mul +mine +python +[0-9a-f]{12} +yes +\d+\.\d us/m);
  const listed = await opswap(["candidates", "silu_and_mul", "--json", ...engine]);
  const kinds = JSON.parse(listed.out).candidates.map(({ kind }: { kind: string }) => kind);
  expect(new Set(kinds)).toEqual(new Set(["library", "engine", "python"]));

  const shares = ["--calls", "100%", "--time", "50%"];
  await opswap(["shadow", "start", "silu_and_mul", "--candidate", "mine", ...shares, ...engine]);
  expect(compare(before, await ask(vllm.url)).same).toBe(true);
  const samples = path.join(dir, "samples.jsonl");
  await opswap(["shadow", "read", "silu_and_mul", "--samples", samples, ...engine]);
  await opswap(["shadow", "stop", "silu_and_mul", ...engine]);
  const [header, ...seen] = readFileSync(samples, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(header).toMatchObject({ candidate: "mine", candidate_digest: digest });
  expect(header.candidate_dispatch_ns).toBeGreaterThan(0);
  expect(seen.length).toBeGreaterThan(5);
  for (const record of seen) expect(record).toMatchObject({ candidate_status: "OPSWAP_OK", outside: 0 });

  const counted = await calls("mine");
  await client.use([{ op: "silu_and_mul", impl: "mine" }]);
  expect((await ask(vllm.url)).text).toContain("Paris");
  expect(await calls("mine")).toBeGreaterThan(counted);
  await client.use([{ op: "silu_and_mul", impl: "cpu" }]);
});
