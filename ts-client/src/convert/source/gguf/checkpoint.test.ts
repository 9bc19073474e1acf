import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { ggufHead, tinyModel, type WrittenValue, withData } from "../../../testing/gguf-file.js";
import { inspect } from "../../check/inspect.js";
import { openSource } from "../open.js";
import { allTensors } from "../source.js";

const dir = mkdtempSync(path.join(tmpdir(), "oc"));
const file = path.join(dir, "x.gguf");
afterAll(() => rmSync(dir, { recursive: true, force: true }));
afterEach(() => vi.unstubAllEnvs());

type Change = Parameters<typeof tinyModel>[0];

/** The source of a Llama of one layer with something changed. */
function opened(change: Change, tokenizer: string | undefined = "none") {
  writeFileSync(file, withData(tinyModel(change)));
  return openSource(file, tokenizer);
}
const configOf = (change: Change) => JSON.parse(opened(change).config ?? "");
const tensorsOf = (change: Change) =>
  Object.fromEntries(allTensors(opened(change)).map(({ tensor }) => [tensor.name, tensor]));

describe("a model", () => {
  it("of Llama has its names, pairs of rows in q and k alone, and a tied head", () => {
    const tensors = tensorsOf({});
    expect(Object.keys(tensors)).toHaveLength(11);
    expect(tensors["model.layers.0.self_attn.q_proj.weight"]).toMatchObject({
      shape: [32, 32],
      stored: { heads: 2 },
    });
    expect(tensors["model.layers.0.self_attn.k_proj.weight"]).toMatchObject({
      shape: [16, 32],
      stored: { heads: 1 },
    });
    expect(tensors["model.layers.0.mlp.down_proj.weight"]).toMatchObject({ shape: [32, 64], stored: {} });
    expect(configOf({})).toMatchObject({
      architectures: ["LlamaForCausalLM"],
      head_dim: 16,
      tie_word_embeddings: true,
      vocab_size: 8,
      rms_norm_eps: 1e-5,
    });
  });

  it("of Qwen3 has its rows in order, and one of Gemma norms without the 1", () => {
    const norms = { "blk.0.attn_q_norm.weight": [16], "blk.0.attn_k_norm.weight": [16] };
    const qwen = tensorsOf({ architecture: "qwen3", floats: norms });
    expect(qwen["model.layers.0.self_attn.q_proj.weight"]?.stored).toEqual({});
    expect(qwen["model.layers.0.self_attn.q_norm.weight"]?.stored).toEqual({});
    const gemma = tensorsOf({ architecture: "gemma" });
    expect(gemma["model.norm.weight"]?.stored).toEqual({ add: -1 });
    expect(gemma["model.layers.0.self_attn.q_proj.weight"]?.stored).toEqual({});
  });

  it("with experts has a tensor for each, which are parts of its own", () => {
    const change: Change = {
      architecture: "qwen3moe",
      floats: { "blk.0.ffn_gate_exps.weight": [32, 64, 3], "blk.0.ffn_gate_inp.weight": [32, 3] },
      metadata: {
        "qwen3moe.expert_count": 3,
        "qwen3moe.expert_used_count": 2,
        "qwen3moe.expert_feed_forward_length": 64,
      },
    };
    const tensors = tensorsOf(change);
    const bytes = 4 * 32 * 64;
    const [first, second] = [0, 1].map((i) => tensors[`model.layers.0.mlp.experts.${i}.gate_proj.weight`]);
    expect(second).toMatchObject({
      shape: [64, 32],
      begin: (first?.begin ?? 0) + bytes,
      end: (first?.end ?? 0) + bytes,
    });
    expect(tensors["model.layers.0.mlp.gate.weight"]?.shape).toEqual([3, 32]);
    expect(configOf(change)).toMatchObject({ num_experts: 3, num_experts_per_tok: 2 });
  });

  it("whose frequencies have Llama 3's factors says so in config.json", () => {
    // Of theta 500000 and heads of 16: the waves are shorter than 2048 tokens, between, and longer than 8192.
    const factors = [1, 1, 1, 1, 1.7, 8, 8, 8];
    const change = (values: number[]): Change => ({
      floats: { "rope_freqs.weight": [8] },
      values: { "rope_freqs.weight": values },
      metadata: { "llama.rope.freq_base": { float: 500000 } },
    });
    expect(() => opened(change(factors))).toThrow(/rope_freqs.weight is not one of Llama 3's/);
    const wave = 2 * Math.PI * 500000 ** (8 / 16);
    const smooth = (8192 / wave - 1) / 3;
    factors[4] = 1 / ((1 - smooth) / 8 + smooth);
    expect(configOf(change(factors))).toMatchObject({
      rope_theta: 500000,
      rope_scaling: { rope_type: "llama3", factor: 8, original_max_position_embeddings: 8192 },
    });
    expect(Object.keys(tensorsOf(change(factors)))).toHaveLength(11);
  });

  it("has a config.json that is JSON, whatever its numbers are", () => {
    const theta = (value: WrittenValue) => ({ metadata: { "llama.rope.freq_base": value } });
    expect(configOf(theta({ float: 1e30 })).rope_theta).toBe(1e30);
    expect(() => opened(theta({ floats: [Number.POSITIVE_INFINITY] }))).toThrow(
      /not the same for every layer/,
    );
  });

  it("may be a link, as in a Hugging Face cache", () => {
    const [blob, link] = [path.join(dir, "ab".repeat(32)), path.join(dir, "link.gguf")];
    writeFileSync(blob, withData(tinyModel({})));
    symlinkSync(path.basename(blob), link);
    expect(openSource(link, "none")).toMatchObject({ kind: "gguf", root: blob, files: [{ path: link }] });
    expect(inspect(link).files).toMatchObject([{ name: "link.gguf" }]);
  });

  it("in parts is read from its first", () => {
    const split = (no: number): Change => ({ metadata: { "split.no": no, "split.count": 2 } });
    const at = (no: number) => path.join(dir, `m-0000${no}-of-00002.gguf`);
    writeFileSync(at(1), withData(tinyModel({ ...split(0), only: /^(?!blk)/ })));
    expect(() => openSource(at(1), "none")).toThrow(/m-00002-of-00002.gguf is not there/);
    writeFileSync(at(2), withData(tinyModel({ ...split(1), only: /^blk/ })));
    const { files, indexed } = openSource(at(1), "none");
    expect(files.map(({ name, header }) => [name, header.tensors.length])).toEqual([
      ["model-00001-of-00002.safetensors", 2],
      ["model-00002-of-00002.safetensors", 9],
    ]);
    expect(indexed).toBe(true);
    writeFileSync(at(2), withData(tinyModel({ ...split(0), only: /^blk/ })));
    expect(() => openSource(at(1), "none")).toThrow(/does not say that it is part 2/);
  });
});

it.each<[string, Change, RegExp]>([
  ["an unknown architecture", { architecture: "mamba" }, /architecture mamba/],
  [
    "a tensor that no such model has",
    { floats: { "blk.0.odd.weight": [4] } },
    /"blk.0.odd.weight" is not known/,
  ],
  [
    "a type that is not read",
    { types: { "blk.0.attn_v.weight": [20, 18] } },
    /blk.0.attn_v.weight is IQ4_NL/,
  ],
  ["other heads than its tensors", { metadata: { "llama.attention.head_count": 4 } }, /call for \[64, 32\]/],
  [
    "heads that are not whole",
    { metadata: { "llama.attention.head_count": { float: 1.5 } } },
    /not a positive whole/,
  ],
  ["a layer too many", { metadata: { "llama.block_count": 2 } }, /has no tensor of layer 1/],
  ["a layer too few", { metadata: { "llama.block_count": 0 } }, /not a positive whole number/],
  ["half a layer", { only: /^(?!blk.0.ffn_up)/ }, /layer 0 has no mlp.up_proj/],
  ["no embedding", { only: /^(?!token)/ }, /no token_embd.weight/],
  ["no width", { metadata: { "llama.embedding_length": "wide" } }, /is wide, not a number/],
  [
    "an odd scaling",
    { metadata: { "llama.rope.scaling.type": "odd", "llama.rope.scaling.factor": 2 } },
    /rope.scaling.type odd/,
  ],
])("a model with %s is refused", (_what, change, message) => {
  expect(() => opened(change)).toThrow(message);
});

describe("the tokenizer", () => {
  it("is copied from a folder, and nothing else of it", () => {
    const folder = path.join(dir, "tokenizer");
    mkdirSync(folder, { recursive: true });
    expect(() => opened({}, folder)).toThrow(/has no tokenizer/);
    for (const name of ["tokenizer.json", "config.json", "model.safetensors"])
      writeFileSync(path.join(folder, name), "{}");
    expect(opened({}, folder).side).toMatchObject([{ name: "tokenizer.json", bytes: 2 }]);
  });

  it("is refused with the reason where no Python can make it", () => {
    vi.stubEnv("OPSWAP_CACHE", path.join(dir, "cache"));
    vi.stubEnv("OPSWAP_PYTHON", path.join(dir, "no-python"));
    writeFileSync(file, withData(tinyModel({})));
    expect(() => openSource(file)).toThrow(/transformers is needed .*no-python does not exist/);
    const python = path.join(dir, "python");
    writeFileSync(python, "#!/bin/sh\necho 'it has no merges' >&2\nexit 1\n", { mode: 0o755 });
    vi.stubEnv("OPSWAP_PYTHON", python);
    expect(() => openSource(file)).toThrow(/no tokenizer could be made from .*: it has no merges/);
  });

  it("is not for safetensors", () => {
    expect(() => openSource(dir, "x")).toThrow(/--tokenizer is not for it/);
  });
});

it("inspect shows a GGUF file of any architecture as the file has it", () => {
  const odd: [string, WrittenValue][] = [["general.architecture", "odd"]];
  const tensor = { name: "x", extents: [32, 2], type: 20, offset: 0 };
  writeFileSync(file, Buffer.concat([ggufHead(odd, [tensor]), Buffer.alloc(64)]));
  expect(inspect(file)).toMatchObject({
    files: [{ name: "x.gguf", tensors: 1, metadata: { "GGUF version": "3", "general.architecture": "odd" } }],
    dtypes: [{ dtype: "IQ4_NL", tensors: 1, bytes: 36 }],
    tensors: [{ name: "x", shape: [2, 32] }],
    layout: null,
  });
});
