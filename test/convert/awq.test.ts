import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { headOf, layoutFile } from "../../ts-client/src/convert/source/safetensors/layout.js";
import { generator } from "../../ts-client/src/testing/mutate-header.js";
import { buildFaults, contents, convert, differing, readLog, scratch, writeShard } from "./harness.js";

const { dir, remove } = scratch();
const source = path.join(dir, "source");
const statistics = path.join(dir, "statistics.safetensors");
const layer = "model.layers.0.";
const HEADS = { num_attention_heads: 4, num_key_value_heads: 2, head_dim: 64 };
const ATTENTION = { q_proj: [256, 256], k_proj: [128, 256], v_proj: [128, 256], o_proj: [256, 256] };
const MLP = { gate_proj: [256, 256], up_proj: [256, 256], down_proj: [256, 256] };

/** One layer whose norm, values and output are not in one file, so that parts work on one fold apart. */
function writeModel(): void {
  const named = (module: string, shapes: Record<string, number[]>) =>
    Object.entries(shapes).map(([name, shape]) => [`${layer}${module}.${name}.weight`, shape] as const);
  const norms = ["input_layernorm", "post_attention_layernorm"].map(
    (name) => [`${layer}${name}.weight`, [256]] as const,
  );
  const [attention, mlp] = [named("self_attn", ATTENTION), named("mlp", MLP)];
  mkdirSync(source);
  const shards = [
    [...attention.slice(2), ...norms.slice(1), ...mlp.slice(1, 2)],
    [...norms.slice(0, 1), ...attention.slice(0, 2), mlp[0], mlp[2]],
  ].map((rows) => rows.flatMap((row) => (row ? [row] : [])));
  const map: Record<string, string> = {};
  for (const [i, rows] of shards.entries()) {
    const name = `model-0000${i + 1}-of-00002.safetensors`;
    writeShard(path.join(source, name), Object.fromEntries(rows), i);
    for (const [tensor] of rows) map[tensor] = name;
  }
  writeFileSync(path.join(source, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
  writeFileSync(path.join(source, "config.json"), JSON.stringify({ model_type: "llama", ...HEADS }));
  writeStatistics([...attention, ...mlp].map(([name]) => `${name}.mean_square`));
}

/** Some channels are far louder than others. */
function writeStatistics(names: readonly string[]): void {
  const layout = layoutFile(
    names.map((name) => ({ name, dtype: "F32", shape: [256] })),
    {},
  );
  const body = Buffer.alloc(layout.bytes - layout.headBytes);
  const random = generator(7);
  const squares = Array.from({ length: 256 }, () => (random(40) === 0 ? 5000 : 0.1 + random(100) / 50));
  for (let i = 0; i < body.length / 4; i++) body.writeFloatLE(squares[i % 256] ?? 0, 4 * i);
  writeFileSync(statistics, Buffer.concat([headOf(layout), body]));
}

const OPTIONS = ["--to", "w4a8_g128_vllm", "--awq", "--calibration", statistics];
let library: string;
let wanted: Map<string, Buffer>;
const run = (output: string, env: NodeJS.ProcessEnv = {}, ...more: string[]) =>
  convert(["run", source, output, ...OPTIONS, ...more], env);

beforeAll(async () => {
  writeModel();
  library = await buildFaults(dir);
  expect(await run(path.join(dir, "whole"))).toMatchObject({ code: 0, err: "" });
  wanted = contents(path.join(dir, "whole"));
});
afterAll(remove);

const made = () => path.join(mkdtempSync(path.join(dir, "turn-")), "out");

it("scales something here, or nothing else in this file means anything", () => {
  const report = JSON.parse(`${wanted.get("conversion.json")}`);
  expect(report.scaled).toHaveLength(4);
  for (const { error_before, error_after } of report.scaled) expect(error_after).toBeLessThan(error_before);
});

it.each([2, 5])("parts of %d, in any order, merge to the bytes of a whole run", async (count) => {
  const output = made();
  for (let i = count; i >= 1; i--)
    expect(await run(output, {}, "--shard", `${i}/${count}`)).toMatchObject({ code: 0, err: "" });
  expect(await convert(["merge", source, output, ...OPTIONS])).toMatchObject({ code: 0, err: "" });
  expect(differing(contents(output), wanted)).toEqual([]);
});

it("workers make the bytes of a whole run, and any number of threads verifies them", async () => {
  const output = made();
  expect(await run(output, {}, "--workers", "2")).toMatchObject({ code: 0, err: "" });
  expect(differing(contents(output), wanted)).toEqual([]);
  const given = ["--calibration", statistics, "--threads", "1"];
  expect(await convert(["verify", source, output, ...given])).toMatchObject({ code: 0 });
});

it("a run that is killed goes on to the same bytes", async () => {
  const output = made();
  const env = (at: number) => ({
    LD_PRELOAD: library,
    OPSWAP_FAULT_UNDER: `${path.dirname(output)}/`,
    OPSWAP_FAULT_LOG: path.join(dir, "calls.log"),
    OPSWAP_FAULT_AT: String(at),
    OPSWAP_FAULT_ERRNO: "0",
  });
  expect(await run(output, env(0))).toMatchObject({ code: 0 });
  const calls = readLog(path.join(dir, "calls.log")).length;
  for (const share of [0.3, 0.5, 0.7, 0.9]) {
    rmSync(path.dirname(output), { recursive: true });
    mkdirSync(path.dirname(output));
    expect((await run(output, env(Math.floor(share * calls)))).signal, `${share}`).toBe("SIGKILL");
    expect(await run(output)).toMatchObject({ code: 0, err: "" });
    expect(differing(contents(output), wanted), `after a kill at ${share}`).toEqual([]);
  }
});

it("statistics without a layer are refused, and the layer is named", async () => {
  const output = made();
  writeStatistics([`${layer}self_attn.q_proj.weight.mean_square`]);
  const refused = await run(output);
  expect(refused.code).toBe(1);
  expect(refused.out).toMatch(/OPSWAP_E_CALIBRATION.*mlp\.(gate|up)_proj\.weight\.mean_square/);
});
