import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { tinyModel, type WrittenValue, withData } from "../../../testing/gguf-file.js";
import { OpswapError } from "../../../types/errors.js";
import { inspect } from "../../check/inspect.js";
import { openSource } from "../open.js";
import { FAMILIES } from "./families.js";

const dir = mkdtempSync(path.join(tmpdir(), "ok"));
const file = path.join(dir, "x.gguf");
afterAll(() => rmSync(dir, { recursive: true, force: true }));

type Metadata = Readonly<Record<string, WrittenValue>>;
type Change = Parameters<typeof tinyModel>[0];

const EXPERTS = { expert_count: 3, expert_used_count: 2, expert_feed_forward_length: 64 };

/** What a family's model needs beside a Llama's. */
function needs(architecture: string): { own: Metadata; floats: Record<string, number[]> } {
  const norms = { "blk.0.attn_q_norm.weight": [16], "blk.0.attn_k_norm.weight": [16] };
  if (/^gemma[23]$/.test(architecture)) return { own: { "attention.sliding_window": 32 }, floats: norms };
  if (architecture === "qwen3moe") return { own: EXPERTS, floats: { "blk.0.ffn_gate_inp.weight": [32, 3] } };
  return { own: {}, floats: {} };
}

function opened(architecture: string, own: Metadata, others: Metadata = {}) {
  const more = needs(architecture);
  const keys = Object.entries({ ...more.own, ...own }).map(([key, value]) => [
    `${architecture}.${key}`,
    value,
  ]);
  const floats = architecture === "qwen3moe" ? more.floats : {};
  const change: Change = { architecture, floats, metadata: { ...Object.fromEntries(keys), ...others } };
  writeFileSync(file, withData(tinyModel(change)));
  return openSource(file, "none");
}

const configOf = (architecture: string, own: Metadata, others: Metadata = {}) =>
  JSON.parse(opened(architecture, own, others).config ?? "");

/** Values that mean something else than what the models of these tests have. */
const ODD: readonly (readonly [string, WrittenValue])[] = [
  ["vocab_size", 7],
  ["context_length", 65],
  ["attention.head_count_kv", 3],
  ["attention.key_length", 8],
  ["attention.value_length", 8],
  ["attention.key_length_swa", 8],
  ["attention.value_length_swa", 8],
  ["attention.layer_norm_rms_epsilon", { float: 0.25 }],
  ["attention.layer_norm_epsilon", { float: 0.25 }],
  ["attention.causal", false],
  ["attention.scale", { float: 0.5 }],
  ["attention.output_scale", { float: 0.5 }],
  ["attention.sliding_window", 8],
  ["attention.sliding_window_pattern", 1],
  ["attention.sliding_window_pattern", { bools: [false] }],
  ["attention.max_alibi_bias", { float: 8 }],
  ["attention.clamp_kqv", { float: 8 }],
  ["attention.q_lora_rank", 8],
  ["attention.temperature_scale", { float: 0.1 }],
  ["attention.indexer.top_k", 8],
  ["attn_logit_softcapping", { float: 30 }],
  ["final_logit_softcapping", { float: 20 }],
  ["router_logit_softcapping", { float: 20 }],
  ["logit_scale", { float: 0.5 }],
  ["residual_scale", { float: 0.5 }],
  ["embedding_scale", { float: 12 }],
  ["use_parallel_residual", true],
  ["expert_count", 4],
  ["expert_used_count", 1],
  ["expert_feed_forward_length", 32],
  ["expert_shared_count", 1],
  ["expert_weights_scale", { float: 2.5 }],
  ["expert_gating_func", 2],
  ["expert_group_count", 8],
  ["nextn_predict_layers", 1],
  ["leading_dense_block_count", 1],
  ["pooling_type", 1],
  ["rope.dimension_count", 8],
  ["rope.dimension_count_swa", 8],
  ["rope.dimension_sections", { array: [4, 2, 2, 0] }],
  ["rope.freq_base", { float: 500000 }],
  ["rope.freq_base_swa", { float: 20000 }],
  ["rope.scale_linear", { float: 4 }],
  ["rope.scaling.type", "longrope"],
  ["rope.scaling.factor", { float: 4 }],
  ["rope.scaling.attn_factor", { float: 1.5 }],
  ["rope.scaling.alpha", { float: 1000 }],
  ["ssm.conv_kernel", 4],
  ["swiglu_clamp_exp", { floats: [7] }],
  ["a.key.of.tomorrow", 1],
  ["nested", { nested: [[1], [2]] }],
];

describe.each([...FAMILIES.keys()])("of %s", (architecture) => {
  it.each(ODD)("metadata %s = %j change config.json or are refused by name", (key, value) => {
    const base = configOf(architecture, {});
    try {
      expect(configOf(architecture, { [key]: value })).not.toEqual(base);
    } catch (error) {
      expect(error).toBeInstanceOf(OpswapError);
      const leaf = key.split(".").at(-1) ?? "";
      // Some are refused for what does not fit them: tensors, or heads.
      const fits = /^(attention\.(head_count_kv|key_length)|rope\.dimension_count)$/.test(key);
      if (!fits) expect((error as OpswapError).message).toContain(leaf);
    }
  });

  it("metadata that say what config.json says are taken", () => {
    const same: Metadata = {
      vocab_size: 8,
      "attention.value_length": 16,
      "attention.key_length_swa": 16,
      "attention.causal": true,
      "attention.layer_norm_epsilon": { float: 1e-5 },
      "attention.scale": { float: 0.25 },
      "rope.freq_base_swa": { float: 10000 },
      "rope.scaling.finetuned": false,
      "rope.scaling.factor": { float: 0 },
      "rope.dimension_sections": { array: [0, 0, 0, 0] },
      expert_shared_count: 0,
      expert_weights_scale: { float: 1 },
      expert_gating_func: 1,
      logit_scale: { float: 1 },
      tensor_data_layout: "Meta AI original pth",
    };
    expect(configOf(architecture, same)).toEqual(configOf(architecture, {}));
  });
});

describe("the file's own metadata", () => {
  it.each<[string, WrittenValue]>([
    ["general.type", "adapter"],
    ["general.quantization_version", 1],
    ["clip.vision.image_size", 224],
    ["adapter.lora.alpha", { float: 16 }],
    ["tokenizer.ggml.bos_token_id", 8],
    ["tokenizer.ggml.bos_token_id", { float: 0.5 }],
  ])("%s = %j is refused by name", (key, value) => {
    expect(() => opened("llama", {}, { [key]: value })).toThrow(key);
  });

  it("for people, samplers and parts is taken, and its fate told", () => {
    const others: Metadata = {
      "general.name": "x",
      "general.tags": { nested: [[1], [2, 3]] },
      "general.sampling.temp": { float: 0.7 },
      "general.quantization_version": 2,
      "quantize.imatrix.file": "x",
      "split.count": 0,
      "tokenizer.ggml.add_bos_token": true,
      "tokenizer.ggml.padding_token_id": 2 ** 32 - 1,
      "tokenizer.ggml.eot_token_id": 3,
      "tokenizer.ggml.eom_token_id": 4,
    };
    const source = opened("llama", {}, others);
    const fates = new Map(source.entries?.map(({ key, fate }) => [key, fate]));
    expect(fates.size).toBe(Object.keys(others).length + 2 + 9 + 2);
    expect(fates.get("general.name")).toBe("harmless");
    expect(fates.get("general.alignment")).toBe("file");
    expect(fates.get("llama.rope.freq_base")).toBe("config.json");
    expect(fates.get("tokenizer.ggml.add_bos_token")).toBe("harmless");
    expect(JSON.parse(source.config ?? "")).toMatchObject({ eos_token_id: [3, 4] });
    expect(JSON.parse(source.config ?? "")).not.toHaveProperty("pad_token_id");
    const seen = new Map(inspect(file).fates?.map(({ key, fate }) => [key, fate]));
    expect(seen.get("tokenizer.ggml.add_bos_token")).toBe("tokenizer");
    expect(seen.size).toBe(fates.size);
  });
});

describe("Gemma's sliding window", () => {
  const types = (own: Metadata) => configOf("gemma3", own).layer_types;

  it("is that of the pattern, a period or a list", () => {
    expect(types({ "attention.sliding_window_pattern": 1 })).toEqual(["full_attention"]);
    expect(types({ "attention.sliding_window_pattern": 0 })).toEqual(["sliding_attention"]);
    expect(types({ "attention.sliding_window_pattern": { bools: [false] } })).toEqual(["full_attention"]);
    for (const pattern of [{ bools: [true, false] }, { float: 1.5 }, "x"])
      expect(() => types({ "attention.sliding_window_pattern": pattern })).toThrow(/sliding_window_pattern/);
  });

  it("has a base of frequencies of its own", () => {
    const own = { "rope.freq_base_swa": { float: 20000 }, "rope.freq_base": { float: 1e6 } };
    expect(configOf("gemma3", own)).toMatchObject({ rope_local_base_freq: 20000, rope_theta: 1e6 });
  });

  it("has caps, of which 0 is none", () => {
    const caps = (value: number) => configOf("gemma2", { final_logit_softcapping: { float: value } });
    expect(caps(0).final_logit_softcapping).toBeNull();
    expect(caps(30).final_logit_softcapping).toBe(30);
  });
});

describe("YaRN and others", () => {
  const scaling = (own: Metadata) => configOf("llama", own).rope_scaling;
  const yarn = { "rope.scaling.type": "yarn", "rope.scaling.factor": { float: 4 } };

  it("are said as transformers says them", () => {
    expect(scaling(yarn)).toEqual({ rope_type: "yarn", factor: 4, original_max_position_embeddings: 64 });
    const more = { "rope.scaling.original_context_length": 16, "rope.scaling.attn_factor": { float: 0.5 } };
    expect(scaling({ ...yarn, ...more })).toEqual({
      rope_type: "yarn",
      factor: 4,
      original_max_position_embeddings: 16,
      attention_factor: 0.5 * (0.1 * Math.log(4) + 1),
    });
    expect(scaling({ "rope.scaling.type": "none", "rope.scaling.factor": { float: 4 } })).toBeUndefined();
    expect(scaling({ "rope.scaling.factor": { float: 4 } })).toEqual({ rope_type: "linear", factor: 4 });
    expect(scaling({ "rope.scale_linear": { float: 1 } })).toBeUndefined();
    const set = {
      "rope.scaling.yarn_ext_factor": { float: 1 },
      "rope.scaling.yarn_attn_factor": { float: 1 },
    };
    expect(scaling({ ...yarn, ...set })).toEqual(scaling(yarn));
  });

  it.each<[string, WrittenValue]>([
    ["yarn_ext_factor", { float: 0.5 }],
    ["yarn_ext_factor", { float: 0 }],
    ["yarn_attn_factor", { float: 0.5 }],
    ["yarn_log_multiplier", { float: 0.1 }],
    ["yarn_beta_fast", { float: 0 }],
    ["yarn_beta_slow", { float: Number.POSITIVE_INFINITY }],
    ["factor", { float: -4 }],
    ["factor", { float: Number.NaN }],
    ["original_context_length", 0],
  ])("with %s = %j are refused by name", (key, value) => {
    expect(() => scaling({ ...yarn, [`rope.scaling.${key}`]: value })).toThrow(key);
  });

  it("that say two factors are refused", () => {
    const both = { "rope.scaling.factor": { float: 4 }, "rope.scale_linear": { float: 2 } };
    expect(() => scaling(both)).toThrow(/rope.scaling.factor 4 and rope.scale_linear 2/);
  });
});

describe("a file whose name ends with .GGUF", () => {
  it("is one, by itself, in a folder and in parts", () => {
    const folder = path.join(dir, "upper");
    mkdirSync(folder);
    const split = (no: number): Change => ({ metadata: { "split.no": no, "split.count": 2 } });
    for (const [no, only] of [
      [1, /^(?!blk)/],
      [2, /^blk/],
    ] as const)
      writeFileSync(
        path.join(folder, `m-0000${no}-of-00002.GGUF`),
        withData(tinyModel({ ...split(no - 1), only })),
      );
    writeFileSync(path.join(folder, "config.json"), "{}");
    const source = openSource(folder, "none");
    expect(source.files.map(({ header }) => header.tensors.length)).toEqual([2, 9]);
    expect(source.leftOut.map(({ name }) => name)).toEqual(["config.json"]);
    expect(openSource(path.join(folder, "m-00001-of-00002.GGUF"), "none").leftOut).toEqual([]);
    const later = {
      ...split(1),
      metadata: { ...split(1).metadata, "llama.context_length": 65 },
      only: /^blk/,
    };
    writeFileSync(path.join(folder, "m-00002-of-00002.GGUF"), withData(tinyModel(later)));
    expect(() => openSource(folder, "none")).toThrow(/llama.context_length is not what m-00001/);
  });
});
