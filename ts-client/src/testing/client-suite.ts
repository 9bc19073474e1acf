/** Tests that every client has to pass, whatever its transport. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type OpswapClient, type OpTensor, Quantized, run } from "../client/index.js";
import { OpswapError } from "../types/errors.js";

/** Tests that a transport cannot pass, and why. */
export interface Skip {
  reason: string;
  tests: readonly string[];
}

export interface SuiteOptions {
  makeClient(): Promise<OpswapClient>;
  skip?: readonly Skip[];
}

type Test = (client: OpswapClient, makeClient: () => Promise<OpswapClient>) => Promise<void>;

/** What every transport must do, test by name. */
const TESTS: Record<string, Test> = {
  "status names the loaded library": async (client) => {
    const status = await client.status();
    expect(status.version.build_digest).toMatch(/^[0-9a-f]{64}$/);
    expect(status.divergence).toBeNull();
  },

  "ops lists every op of the manifest on every rank": async (client) => {
    const names = (await client.manifest()).ops.map((op) => op.op);
    const { ranks } = await client.ops();
    expect(ranks.length).toBeGreaterThan(0);
    for (const rank of ranks) expect(rank.ops.map((row) => row.op)).toEqual(names);
  },

  "ops of one op, and of none": async (client) => {
    const { ranks } = await client.ops("rms_norm");
    expect(ranks[0]?.ops.map((row) => row.op)).toEqual(["rms_norm"]);
    await expect(client.ops("rms_nrm")).rejects.toMatchObject({ code: "OPSWAP_E_NO_OP" });
  },

  "why gives a reason or none for each implementation": async (client) => {
    const { op, ranks } = await client.why("rms_norm");
    expect(op).toBe("rms_norm");
    const impls = ranks[0]?.impls ?? [];
    expect(impls.map((impl) => impl.name)).toEqual(expect.arrayContaining(["ref", "cpu"]));
    for (const impl of impls) expect(impl.usable).toBe(impl.reason === "");
    await expect(client.why("rms_nrm")).rejects.toMatchObject({ code: "OPSWAP_E_NO_OP" });
  },

  "use switches, says what ran before, and switches back": async (client) => {
    const before = await client.use([{ op: "rms_norm", impl: "ref" }]);
    expect(before.acks[0]).toMatchObject({ previous: { rms_norm: "cpu" }, applied: "live" });
    expect((await client.why("rms_norm")).ranks[0]?.active).toBe("ref");
    const after = await client.use([{ op: "rms_norm", impl: "cpu" }]);
    expect(after.epoch).toBeGreaterThan(before.epoch);
    expect((await client.status()).choice).toMatchObject({ rms_norm: "cpu" });
  },

  "use of what runs already is no switch": async (client) => {
    const { epoch } = await client.status();
    const used = await client.use([{ op: "rms_norm", impl: "cpu" }]);
    expect(used).toMatchObject({ epoch, acks: [], isolation: null });
    expect((await client.status()).epoch).toBe(epoch);
  },

  "reset brings back what ran at load, and unpins it": async (client) => {
    await client.use([{ op: "rms_norm", impl: "ref" }]);
    const { changes, acks, lifted } = await client.reset("rms_norm");
    expect(changes).toEqual([{ op: "rms_norm", impl: "cpu" }]);
    expect(acks[0]?.previous).toEqual({ rms_norm: "ref" });
    expect(lifted).toEqual([]);
    expect((await client.status()).choice).not.toHaveProperty("rms_norm");
    expect(await client.reset("rms_norm")).toMatchObject({ changes: [], acks: [] });
    await expect(client.reset("rms_nrm")).rejects.toMatchObject({ code: "OPSWAP_E_NO_OP" });
  },

  "use is all or nothing": async (client) => {
    const changes = [
      { op: "silu_and_mul", impl: "ref" },
      { op: "rms_norm", impl: "reff" },
    ];
    const refused = client.use(changes);
    await expect(refused).rejects.toMatchObject({
      code: "OPSWAP_E_NO_IMPL",
      message: expect.stringMatching(/ref/),
    });
    expect((await client.why("silu_and_mul")).ranks[0]?.active).toBe("cpu");
  },

  "use of an unknown op": async (client) => {
    const refused = client.use([{ op: "rms_nrm", impl: "ref" }]);
    await expect(refused).rejects.toMatchObject({
      code: "OPSWAP_E_NO_OP",
      message: expect.stringMatching(/rms_norm/),
    });
    await expect(refused).rejects.toBeInstanceOf(OpswapError);
  },

  "doctor finds a fresh process healthy": async (client) => {
    const report = await client.doctor();
    expect(report.healthy).toBe(true);
    expect(report.checks.length).toBeGreaterThan(0);
  },

  "the manifest declares arguments": async (client) => {
    const { ops } = await client.manifest();
    const norm = ops.find((op) => op.op === "rms_norm");
    expect(norm?.args.map((arg) => arg.name)).toEqual(["out", "input", "weight", "epsilon"]);
  },

  "call writes into the tensor it is given": async (client) => {
    const input = floats(client, [1, 4], [0, 1, 2, 3]);
    const out = client.tensor("float32", [1, 2]);
    const result = await client.call("silu_and_mul", [out, input]);
    expect(result).toMatchObject({ op: "silu_and_mul", impl: "cpu" });
    expect(result.elapsed_ns).toBeGreaterThan(0);
    const silu = (x: number) => x / (1 + Math.exp(-x));
    expect(read(out)[0]).toBeCloseTo(silu(0) * 2, 6);
    expect(read(out)[1]).toBeCloseTo(silu(1) * 3, 6);
  },

  "call runs the implementation it is told to": async (client) => {
    const args = [client.tensor("float32", [1, 2]), floats(client, [1, 4], [0, 1, 2, 3])];
    expect((await client.call("silu_and_mul", args, { impl: "ref" })).impl).toBe("ref");
    const unknown = client.call("silu_and_mul", args, { impl: "reff" });
    await expect(unknown).rejects.toMatchObject({ code: "OPSWAP_E_NO_IMPL" });
  },

  "call takes strides, scalars of both kinds and absent tensors": async (client) => {
    const input = client.tensor("float32", [2, 2], [3, 1]);
    floatsOf(input).set([3, 4, 99, 6, 8]);
    const weight = floats(client, [2], [1, 1]);
    const out = client.tensor("float32", [2, 2]);
    await client.call("rms_norm", [out, input, weight, 0]);
    expect(read(out)).toEqual([3, 4, 6, 8].map((x, i) => Math.fround(x / (i < 2 ? 1 : 2) / Math.sqrt(12.5))));
    const product = client.tensor("float32", [2, 1]);
    await client.call("linear", [product, input, floats(client, [1, 2], [1, 1]), null, false]);
    expect(read(product)).toEqual([7, 14]);
  },

  "call by named arguments fills in defaults": async (client) => {
    const input = floats(client, [1, 2], [3, 4]);
    const out = client.tensor("float32", [1, 2]);
    await run(client, "rms_norm", { out, input, weight: floats(client, [2], [1, 1]) });
    expect(read(out)[0]).toBeCloseTo(3 / Math.sqrt(12.5), 5);
    const strange = { out, input, weight: input, colour: 1 };
    await expect(run(client, "rms_norm", strange)).rejects.toMatchObject({
      message: expect.stringMatching(/no argument colour/),
    });
  },

  "call refuses wrong shapes before anything is written": async (client) => {
    const out = floats(client, [1, 3], [7, 7, 7]);
    const refused = client.call("silu_and_mul", [out, floats(client, [1, 4], [0, 1, 2, 3])]);
    await expect(refused).rejects.toMatchObject({
      code: "OPSWAP_E_SHAPE",
      message: expect.stringMatching(/silu_and_mul/),
    });
    await expect(refused).rejects.toHaveProperty("remedy", expect.stringMatching(/./));
    expect(read(out)).toEqual([7, 7, 7]);
  },

  "call refuses a tensor of another client": async (client, makeClient) => {
    const other = await makeClient();
    const foreign = other.tensor("float32", [1, 2]);
    const refused = client.call("silu_and_mul", [foreign, foreign]);
    await expect(refused).rejects.toMatchObject({ code: "OPSWAP_E_ARGUMENT" });
    await other.close();
  },

  "call takes a plan, and codes with their scales as one argument": async (client) => {
    const [rows, columns] = [2, 128];
    const input = client.tensor("bfloat16", [rows, columns]);
    new Uint16Array(input.bytes.buffer, input.bytes.byteOffset, rows * columns).fill(0x3f80);
    const weight = client.tensor("float8_e4m3fn", [1, columns]);
    weight.bytes.fill(0x38);
    const out = client.tensor("bfloat16", [rows, 1]);
    const quantized = (layout: string) => new Quantized(weight, floats(client, [1, 1], [0.5]), layout);
    const args = [out, input, null, quantized("fp8_block128"), null, null, false, false];
    const { plan, impl } = await client.plan("gemm_fp8_block128", args);
    expect([impl, plan.length > 0]).toEqual(["cpu", true]);
    await client.call("gemm_fp8_block128", args, { plan });
    // 128 products of 1 and 1 with a scale of 1/2 are 64: 0x4280 in bfloat16.
    expect([...new Uint16Array(out.bytes.buffer, out.bytes.byteOffset, rows)]).toEqual([0x4280, 0x4280]);
    const short = [out, input, null, quantized("fp8_tensor"), null, null, false, false];
    await expect(client.call("gemm_fp8_block128", short)).rejects.toMatchObject({ code: "OPSWAP_E_LAYOUT" });
    const forged = client.call("gemm_fp8_block128", args, { plan: plan.slice(1) });
    await expect(forged).rejects.toMatchObject({ code: "OPSWAP_E_PLAN" });
    const named = { out, input, weight: quantized("fp8_block128") };
    await run(client, "gemm_fp8_block128", named as never);
    expect((await client.plan("gemm_fp8_block128", args, { impl: "ref" })).plan.length).toBe(0);
  },

  "many calls at once": async (client) => {
    const jobs = Array.from({ length: 32 }, async (_, i) => {
      const out = client.tensor("float32", [1, 1]);
      const input = floats(client, [1, 2], [i, 1]);
      await client.call("silu_and_mul", [out, input]);
      expect(read(out)[0]).toBeCloseTo(i / (1 + Math.exp(-i)), 5);
      for (const tensor of [out, input]) tensor.release();
    });
    await Promise.all(jobs);
  },

  "tensors of bad dtype or shape are refused": async (client) => {
    expect(() => client.tensor("float33", [1])).toThrow(/float32/);
    expect(() => client.tensor("float32", [-1])).toThrow(/dimension 0/);
    expect(() => client.tensor("float32", [2, 2], [1])).toThrow(/strides have 1/);
  },

  "a closed client says so": async (_client, makeClient) => {
    const closed = await makeClient();
    await closed.close();
    await closed.close();
    await expect(closed.status()).rejects.toMatchObject({ code: "OPSWAP_E_CLOSED" });
  },
};

/** Runs the same tests against any transport; a skip must carry a reason. */
export function runClientSuite({ makeClient, skip = [] }: SuiteOptions): void {
  describe("client", () => {
    let client: OpswapClient;
    beforeAll(async () => {
      client = await makeClient();
    });
    afterAll(() => client.close());
    for (const name of skip.flatMap((entry) => entry.tests)) {
      if (!Object.hasOwn(TESTS, name)) throw new Error(`skip: there is no test "${name}"`);
    }
    for (const [name, body] of Object.entries(TESTS)) {
      const reason = skip.find((entry) => entry.tests.includes(name))?.reason;
      test(name, async (context) => {
        if (reason !== undefined) context.skip(reason);
        await body(client, makeClient);
      });
    }
  });
}

function floatsOf(tensor: OpTensor): Float32Array {
  const { buffer, byteOffset, byteLength } = tensor.bytes;
  return new Float32Array(buffer, byteOffset, byteLength / 4);
}

function floats(client: OpswapClient, shape: readonly number[], values: readonly number[]): OpTensor {
  const tensor = client.tensor("float32", shape);
  floatsOf(tensor).set(values);
  return tensor;
}

function read(tensor: OpTensor): number[] {
  return [...floatsOf(tensor)];
}
