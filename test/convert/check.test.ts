import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { check } from "../../ts-client/src/convert/check/check.js";
import { headOf, layoutFile } from "../../ts-client/src/convert/source/safetensors/layout.js";

const dir = mkdtempSync(path.join(tmpdir(), "op"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

type Tensors = Record<string, [dtype: string, shape: number[]]>;

/** A checkpoint of zeros. */
function checkpoint(tensors: Tensors, config: object): string {
  const folder = mkdtempSync(path.join(dir, "c"));
  const made = Object.entries(tensors).map(([name, [dtype, shape]]) => ({ name, dtype, shape }));
  const layout = layoutFile(made, { format: "pt" });
  const data = Buffer.alloc(layout.bytes - layout.headBytes);
  writeFileSync(path.join(folder, "model.safetensors"), Buffer.concat([headOf(layout), data]));
  writeFileSync(path.join(folder, "config.json"), JSON.stringify(config));
  return folder;
}

const P = "model.layers.0.";
const BLOCKS = { quant_method: "fp8", weight_block_size: [128, 128], activation_scheme: "dynamic" };
const codes = (name: string): Tensors => ({ [`${P}${name}.weight`]: ["F8_E4M3", [256, 256]] });
const scaled = (name: string): Tensors => ({
  ...codes(name),
  [`${P}${name}.weight_scale_inv`]: ["F32", [2, 2]],
});
const plain = (name: string): Tensors => ({ [`${P}${name}.weight`]: ["BF16", [256, 256]] });
const model = (quantization_config: object) => ({
  architectures: ["Qwen3ForCausalLM"],
  quantization_config,
});
const kinds = (folder: string) => check(folder, null).findings.map(({ kind, tensors }) => [kind, tensors]);

describe("a checkpoint of another tool", () => {
  it("that is whole has no findings, and each reader says what it does", () => {
    const folder = checkpoint({ ...scaled("mlp.up_proj"), ...scaled("mlp.gate_proj") }, model(BLOCKS));
    const { findings, layout, readers } = check(folder, null);
    expect(findings).toEqual([]);
    expect(layout).toBe("fp8_block128");
    expect(readers.map(({ reader, loads }) => [reader, loads])).toEqual([
      ["vllm", true],
      ["sglang", true],
      ["transformers", true],
      ["trtllm", true],
    ]);
  });

  it.each<[string, Tensors, unknown]>([
    [
      "a scale is missing",
      { ...scaled("mlp.up_proj"), ...codes("mlp.gate_proj") },
      ["no scales", [`${P}mlp.gate_proj.weight`]],
    ],
    [
      "stacked experts have no scales",
      { [`${P}mlp.experts.gate_up_proj`]: ["F8_E4M3", [2, 256, 256]] },
      ["no scales", [`${P}mlp.experts.gate_up_proj`]],
    ],
    [
      "scales are left of what is BF16 now",
      { ...plain("mlp.up_proj"), [`${P}mlp.up_proj.weight_scale_inv`]: ["F32", [2, 2]] },
      ["no codes", [`${P}mlp.up_proj.weight_scale_inv`]],
    ],
    [
      "a kept layer is not named",
      { ...scaled("mlp.up_proj"), ...plain("self_attn.o_proj") },
      ["not named", [`${P}self_attn.o_proj.weight`]],
    ],
  ])("tells where %s", (_, tensors, finding) => {
    expect(kinds(checkpoint(tensors, model(BLOCKS)))).toContainEqual(finding);
  });

  it("asks for no name of what readers build in their own precision anyway", () => {
    const tensors: Tensors = { ...scaled("mlp.up_proj"), ...plain("mlp.gate") };
    expect(kinds(checkpoint(tensors, model(BLOCKS)))).toEqual([]);
  });

  it("takes names in lists as readers do: whole, of what holds them, and as patterns", () => {
    const tensors: Tensors = { ...scaled("mlp.up_proj"), ...plain("self_attn.o_proj") };
    for (const name of [`${P}self_attn.o_proj`, `${P}self_attn`, "re:.*self_attn.*"])
      expect(kinds(checkpoint(tensors, model({ ...BLOCKS, modules_to_not_convert: [name] })))).toEqual([]);
    const all = checkpoint(tensors, model({ ...BLOCKS, modules_to_not_convert: ["re:.*_proj"] }));
    expect(kinds(all)).toEqual([["named, and quantised", [`${P}mlp.up_proj.weight`]]]);
  });

  it("of a method that no rules speak of says so, and looks for scales all the same", () => {
    const folder = checkpoint(codes("mlp.up_proj"), model({ quant_method: "quark" }));
    expect(check(folder, null)).toMatchObject({ layout: null, method: "quark", readers: [] });
    expect(kinds(folder)).toEqual([["no scales", [`${P}mlp.up_proj.weight`]]]);
  });

  it.each([
    [{ strategy: "tensor", num_bits: 8, type: "float" }, { num_bits: 8, type: "float" }, "ct_fp8_tensor"],
    [{ strategy: "channel", num_bits: 8, type: "float" }, { num_bits: 8, type: "float" }, "ct_fp8_channel"],
    [{ strategy: "group", num_bits: 4, type: "int" }, { num_bits: 8, type: "float" }, "w4a8_g128_vllm"],
    [{ strategy: "group", num_bits: 4, type: "int" }, null, null],
  ])("of compressed-tensors is known by its groups: %j", (weights, input_activations, layout) => {
    const config_groups = { group_0: { weights, input_activations } };
    const config = model({ quant_method: "compressed-tensors", config_groups });
    expect(check(checkpoint(plain("mlp.gate"), config), null).layout).toBe(layout);
  });
});
