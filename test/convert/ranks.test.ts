import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { buildFaults, contents, convert, differing, readLog, scratch, writeShard } from "./harness.js";

/** Kill points of a run; more by `OPSWAP_KILLS=200 npx vitest run ranks`. */
const KILLS = Number(process.env.OPSWAP_KILLS ?? 6);
const OPTIONS = ["--tensor-parallel", "2"];

const { dir, remove } = scratch();
const source = writeModel(path.join(dir, "source"));
let library: string;
let wanted: Map<string, Buffer>;
let calls: number;

/** A Qwen3 of one layer in two files; parts of its fused matrices are in both. */
function writeModel(folder: string): string {
  const [layer, hidden] = ["model.layers.0", 128];
  const norms = ["input_layernorm", "post_attention_layernorm"].map((name) => [
    `${layer}.${name}.weight`,
    [hidden],
  ]);
  const shards: [string, number[]][][] = [
    [
      ["model.embed_tokens.weight", [200, hidden]],
      [`${layer}.self_attn.q_proj.weight`, [512, hidden]],
      [`${layer}.mlp.up_proj.weight`, [512, hidden]],
      [`${layer}.mlp.down_proj.weight`, [hidden, 512]],
    ],
    [
      [`${layer}.self_attn.k_proj.weight`, [256, hidden]],
      [`${layer}.self_attn.v_proj.weight`, [256, hidden]],
      [`${layer}.self_attn.o_proj.weight`, [hidden, 512]],
      [`${layer}.self_attn.q_norm.weight`, [128]],
      [`${layer}.self_attn.k_norm.weight`, [128]],
      [`${layer}.mlp.gate_proj.weight`, [512, hidden]],
      ...(norms as [string, number[]][]),
      ["model.norm.weight", [hidden]],
      ["lm_head.weight", [200, hidden]],
    ],
  ];
  mkdirSync(folder);
  for (const [i, shapes] of shards.entries())
    writeShard(path.join(folder, `model-${i}.safetensors`), Object.fromEntries(shapes), i);
  const config = {
    architectures: ["Qwen3ForCausalLM"],
    num_hidden_layers: 1,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 128,
    hidden_size: hidden,
    vocab_size: 200,
  };
  writeFileSync(path.join(folder, "config.json"), JSON.stringify(config));
  return folder;
}

const run = (output: string, at: number) =>
  convert(["run", source, output, ...OPTIONS], {
    LD_PRELOAD: library,
    OPSWAP_FAULT_UNDER: `${path.dirname(output)}/`,
    OPSWAP_FAULT_LOG: `${path.dirname(output)}.log`,
    OPSWAP_FAULT_AT: String(at),
    OPSWAP_FAULT_ERRNO: "0",
  });

function place(name: string): string {
  mkdirSync(path.join(dir, name));
  return path.join(dir, name, "out");
}

beforeAll(async () => {
  library = await buildFaults(dir);
  const output = place("whole");
  expect(await run(output, 0)).toMatchObject({ code: 0, err: "" });
  wanted = contents(output);
  calls = readLog(path.join(dir, "whole.log")).length;
});
afterAll(remove);

it("writes files of each rank, and no index, which could not name them", () => {
  const names = [...wanted.keys()].filter((name) => /safetensors/.test(name));
  expect(names).toEqual(
    [0, 1].flatMap((rank) => [0, 1].map((part) => `model-rank-${rank}-part-${part}.safetensors`)),
  );
});

it("a run that is killed goes on to the same bytes", { timeout: 600_000 }, async () => {
  for (let turn = 0; turn < KILLS; turn++) {
    const output = place(`kill-${turn}`);
    const at = 1 + Math.floor(((turn + 0.5) / KILLS) * calls);
    expect((await run(output, at)).signal, `killed at call ${at} of ${calls}`).toBe("SIGKILL");
    expect(await run(output, 0)).toMatchObject({ code: 0, err: "" });
    expect(differing(contents(output), wanted), `after a kill at call ${at}`).toEqual([]);
    rmSync(path.dirname(output), { recursive: true });
  }
});

it("parts on many machines, or workers on one, merge to the same bytes", async () => {
  const output = place("parts");
  for (const part of ["2/3", "1/3", "3/3"])
    expect(await convert(["run", source, output, ...OPTIONS, "--shard", part])).toMatchObject({ code: 0 });
  expect(await convert(["merge", source, output, ...OPTIONS])).toMatchObject({ code: 0, err: "" });
  expect(differing(contents(output), wanted)).toEqual([]);
  const pool = place("workers");
  expect(await convert([source, pool, ...OPTIONS, "--workers", "2"])).toMatchObject({ code: 0, err: "" });
  expect(differing(contents(pool), wanted)).toEqual([]);
});
