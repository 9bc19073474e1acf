import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { formatNamed } from "../formats/index.js";
import { DEFAULTS } from "../options/options.js";
import { glob } from "../policy/policy.js";
import { verdictsOf } from "../readers/verdicts.js";
import { openSource } from "../source/open.js";
import { headOf, layoutFile } from "../source/safetensors/layout.js";
import { outputConfig } from "./config.js";
import { brokenConstraints } from "./constraints.js";
import { factsOf, makePlan } from "./plan.js";
import type { Plan } from "./types.js";

const dir = mkdtempSync(path.join(tmpdir(), "op"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
let made = 0;

/** The plan for a model of these matrices, which are holes on disk. */
function planOf(shapes: Record<string, number[]>, config: object, options = {}): Plan {
  const folder = mkdtempSync(path.join(dir, `m${made++}-`));
  const tensors = Object.entries(shapes).map(([name, shape]) => ({ name, dtype: "BF16", shape }));
  const layout = layoutFile(tensors, { format: "pt" });
  writeFileSync(path.join(folder, "model.safetensors"), headOf(layout));
  truncateSync(path.join(folder, "model.safetensors"), layout.bytes);
  writeFileSync(path.join(folder, "config.json"), JSON.stringify(config));
  return makePlan(openSource(folder), { ...DEFAULTS, ...options });
}

/** Leaf of each quantised tensor. */
function quantized(plan: Plan): string[] {
  return plan.files.flatMap((file) =>
    file.tensors.flatMap((one) => (one.scale ? [one.name.replace(/^.*?([^.]+)\.weight$/, "$1")] : [])),
  );
}

const why = (plan: Plan, end: string) =>
  plan.files.flatMap((file) => file.tensors).find((one) => one.name.endsWith(end))?.why;

const layer = (q: number, kv: number, wide: number, hidden: number) => ({
  "model.layers.0.self_attn.q_proj.weight": [q, hidden],
  "model.layers.0.self_attn.k_proj.weight": [kv, hidden],
  "model.layers.0.self_attn.v_proj.weight": [kv, hidden],
  "model.layers.0.self_attn.o_proj.weight": [hidden, q],
  "model.layers.0.mlp.gate_proj.weight": [wide, hidden],
  "model.layers.0.mlp.up_proj.weight": [wide, hidden],
  "model.layers.0.mlp.down_proj.weight": [hidden, wide],
});

describe("fused groups", () => {
  it("of SmolLM2, whose q, k and v do not end on a border, are kept and listed in config.json", () => {
    const plan = planOf(layer(576, 192, 1536, 576), { architectures: ["LlamaForCausalLM"] });
    expect(quantized(plan).sort()).toEqual(["down_proj", "gate_proj", "o_proj", "up_proj"]);
    expect(why(plan, "v_proj.weight")).toMatch(/q_proj has 576 rows and does not end on a border of 128/);
    const attention = "model.layers.0.self_attn";
    const kept = ["k_proj", "q_proj", "v_proj"].map((name) => `${attention}.${name}`);
    expect(JSON.parse(plan.config ?? "").quantization_config.modules_to_not_convert).toEqual(kept);
  });

  it("may have a last part that is ragged", () => {
    expect(quantized(planOf(layer(512, 128, 1536, 512), {}))).toHaveLength(7);
    const last = {
      "a.q_proj.weight": [256, 128],
      "a.k_proj.weight": [128, 128],
      "a.v_proj.weight": [100, 128],
    };
    expect(quantized(planOf(last, {}))).toHaveLength(3);
  });

  it("are kept whole when a part is kept", () => {
    const plan = planOf(layer(512, 128, 1536, 512), {}, { keep: ["*.k_proj.weight"] });
    expect(quantized(plan)).not.toContain("q_proj");
    expect(why(plan, "q_proj.weight")).toMatch(/fused with .*k_proj.*--keep/);
  });

  it("of experts are kept when one of them is ragged", () => {
    const expert = (i: number, wide: number) => ({
      [`m.experts.${i}.gate_proj.weight`]: [wide, 256],
      [`m.experts.${i}.up_proj.weight`]: [wide, 256],
      [`m.experts.${i}.down_proj.weight`]: [256, wide],
    });
    const other = { "m.o_proj.weight": [256, 256], "m.gate.weight": [8, 256] };
    const plan = planOf({ ...expert(0, 192), ...expert(1, 192), ...other }, {});
    expect(quantized(plan)).toEqual(["o_proj"]);
    expect(why(plan, "1.down_proj.weight")).toMatch(/192 inner features/);
    expect(
      quantized(planOf({ ...expert(0, 256), ...expert(1, 256), ...other }, {}, { policy: "experts" })),
    ).toHaveLength(6);
  });
});

describe("the policy", () => {
  it.each([
    ["model.embed_tokens.weight", "embedding"],
    ["lm_head.weight", "output head"],
    ["model.layers.0.mlp.gate.weight", "router"],
    ["model.visual.blocks.0.fc1.weight", "vision or audio"],
    ["model.layers.3.self_attn.indexer.weights_proj.weight", "indexer's weights"],
    ["model.layers.0.mlp.bias", "not named .weight, where scales would be looked for"],
  ])("keeps %s: %s", (name, reason) => {
    expect(why(planOf({ [name]: [128, 128], "x.o_proj.weight": [128, 128] }, {}), name)).toBe(reason);
  });

  it("can be overridden by patterns that mean themselves but for *", () => {
    expect(glob("a.*.b").test("a.0.1.b")).toBe(true);
    expect(glob("a.b").test("axb")).toBe(false);
    expect(glob("a(+)").test("a(+)")).toBe(true);
    expect(quantized(planOf({ "lm_head.weight": [128, 128] }, {}, { quantize: ["lm_*"] }))).toEqual([
      "lm_head",
    ]);
  });

  it("that leaves nothing to quantise is refused with the reasons", () => {
    expect(() => planOf({ "lm_head.weight": [128, 128] }, {})).toThrow(/nothing in .* is quantised/);
  });
});

it("experts only, on the names of DeepSeek-V2, keeps attention, shared experts, dense layers and the router", () => {
  const mlp = (at: string) => ({
    [`${at}.gate_proj.weight`]: [256, 256],
    [`${at}.up_proj.weight`]: [256, 256],
    [`${at}.down_proj.weight`]: [256, 256],
  });
  const [attention, sparse] = ["model.layers.1.self_attn", "model.layers.1.mlp"];
  const plan = planOf(
    {
      "model.embed_tokens.weight": [512, 256],
      ...mlp("model.layers.0.mlp"),
      [`${attention}.q_proj.weight`]: [256, 256],
      [`${attention}.kv_a_proj_with_mqa.weight`]: [128, 256],
      [`${attention}.kv_a_layernorm.weight`]: [128],
      [`${attention}.kv_b_proj.weight`]: [512, 128],
      [`${attention}.o_proj.weight`]: [256, 256],
      [`${sparse}.gate.weight`]: [2, 256],
      ...mlp(`${sparse}.shared_experts`),
      ...mlp(`${sparse}.experts.0`),
      ...mlp(`${sparse}.experts.1`),
      "model.norm.weight": [256],
      "lm_head.weight": [512, 256],
    },
    { architectures: ["DeepseekV2ForCausalLM"] },
    { policy: "experts" },
  );
  const parts = ["down_proj", "gate_proj", "up_proj"];
  const of = (at: string) => parts.map((part) => `${at}.${part}`);
  expect(plan.quantized).toEqual([...of(`${sparse}.experts.0`), ...of(`${sparse}.experts.1`)]);
  const projections = ["kv_a_proj_with_mqa", "kv_b_proj", "o_proj", "q_proj"];
  expect(plan.kept).toEqual([
    "lm_head",
    ...of("model.layers.0.mlp"),
    `${sparse}.gate`,
    ...of(`${sparse}.shared_experts`),
    ...projections.map((name) => `${attention}.${name}`),
  ]);
});

describe("loader rules", () => {
  const config = { architectures: ["Qwen3ForCausalLM"], num_key_value_heads: 2 };
  const broken = (tp: number, from = config) =>
    brokenConstraints(planOf(layer(1024, 256, 1536, 1024), from), [tp]).map(
      ({ engine, problem }) => `${engine}: ${problem}`,
    );

  it("are kept on one rank and on ranks that get whole blocks", () => {
    expect(broken(1)).toEqual([]);
    expect(broken(4)).toEqual([]);
  });

  it("name the layers that are cut inside a block", () => {
    expect(broken(8)).toEqual([
      "vLLM: rows of a rank are no multiple of 128: gate_proj has 192",
      "SGLang: rows of a rank are no multiple of 128: gate_proj has 192",
      "vLLM: rows of a rank are no multiple of 128: up_proj has 192",
      "SGLang: rows of a rank are no multiple of 128: up_proj has 192",
      "vLLM: columns of a rank are no multiple of 128: down_proj has 192",
      "SGLang: columns of a rank are no multiple of 128: down_proj has 192",
    ]);
  });
});

describe("readers", () => {
  const verdicts = (architecture: string, to: string, names: Record<string, number[]>) => {
    const plan = planOf(names, { architectures: [architecture] }, { to });
    return Object.fromEntries(verdictsOf(factsOf(plan)).map((one) => [one.reader, one]));
  };
  const expert = (name: string) => ({
    ...layer(256, 256, 256, 256),
    [`model.layers.0.mlp.experts.0.${name}.weight`]: [256, 256],
  });

  it.each(["LlamaForCausalLM", "MistralForCausalLM", "Phi3ForCausalLM"])(
    "of SGLang made of its Llama class load no scales: %s",
    (architecture) => {
      const { sglang, vllm } = verdicts(architecture, "fp8_block128", layer(256, 256, 256, 256));
      expect(vllm?.loads).toBe(true);
      expect(sglang?.problems.map(({ remedy }) => remedy)).toEqual([expect.stringMatching(/ct_fp8_block/)]);
      const { sglang: other } = verdicts(architecture, "ct_fp8_block", layer(256, 256, 256, 256));
      expect(other?.loads).toBe(true);
    },
  );

  it("of a model that no engine has are told so, and general rules apply", () => {
    const found = verdicts("NoSuchForCausalLM", "fp8_block128", layer(256, 256, 256, 256));
    expect(Object.values(found).map(({ architecture, loads }) => [architecture, loads])).toEqual([
      [false, true],
      [false, true],
      [true, true],
      [true, true],
    ]);
  });

  it("refuse what they do not load right where an output is for them", () => {
    const config = { architectures: ["Qwen3MoeForCausalLM"] };
    const made = () => planOf(expert("down_proj"), config, { to: "ct_fp8_block", for: "transformers" });
    expect(made).toThrow(/transformers 5.20.2 does not load ct_fp8_block right: .*experts.0.down_proj/);
    expect(
      planOf(expert("down_proj"), config, { to: "fp8_block128", for: "transformers" }).quantized,
    ).toHaveLength(8);
  });
});

describe("config.json", () => {
  it.each(['{\n  "a": 10000.0\n}\n', '{"a": 10000.0}', "{}", '{"b": {"c": 1}}  '])(
    "keeps the text of %j",
    (text) => {
      const fp8 = formatNamed("fp8_block128");
      const { config } = fp8.files({ kept: ["a"], quantized: [], tiedHead: false });
      const out = outputConfig({ config: text }, fp8, config);
      expect(JSON.parse(out)).toEqual({ ...JSON.parse(text), quantization_config: config });
      if (text.includes("10000.0")) expect(out).toContain("10000.0");
      expect(outputConfig({ config: text }, formatNamed("bf16"), null)).toBe(text);
    },
  );

  it("of a BF16 output names that dtype", () => {
    const text = '{"torch_dtype": "float32", "a": 10000.0, "dtype": "float16"}';
    const out = outputConfig({ config: text }, formatNamed("bf16"), null);
    expect(JSON.parse(out)).toEqual({ torch_dtype: "bfloat16", a: 10000, dtype: "bfloat16" });
    expect(out).toContain("10000.0");
  });

  it("of a source that is quantised in an unknown way is refused", () => {
    const text = '{"quantization_config": {"quant_method": "gptq"}}';
    expect(() => outputConfig({ config: text }, formatNamed("bf16"), null)).toThrow(
      /\(gptq\): the source is quantised already/,
    );
  });
});
