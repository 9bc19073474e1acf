import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { roleOf } from "./known-files.js";
import { sideFiles } from "./side-files.js";

const dir = mkdtempSync(path.join(tmpdir(), "oc"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function sorted(...names: string[]) {
  for (const name of names) {
    mkdirSync(path.join(dir, path.dirname(name)), { recursive: true });
    writeFileSync(path.join(dir, name), "x");
  }
  return sideFiles(dir, names, new Map());
}

describe("a file beside the weights", () => {
  it.each([
    "hf_quant_config.json",
    "quant_cfg.json",
    "quantize_config.json",
    "quantization_config.json",
    "quant_config.json",
    "quant_model_description.json",
    "quant_model_description_w8a8_dynamic.json",
    "quanto_qmap.json",
    "quant_log.csv",
    "input_scales.json",
    "kv_cache_scales.json",
    "recipe.yaml",
    "gptq_config.json",
  ])("%s tells of the source's layout", (name) => {
    expect(roleOf(name).kind).toBe("of the layout");
  });

  it.each([
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model.v3",
    "generation_config.json",
    "preprocessor_config.json",
    "chat_template.jinja",
    "modeling_deepseek.py",
    "configuration_deepseek.py",
    "quantization.md",
    "README.md",
    "LICENSE",
    "LICENSE.txt",
    "vocab.txt",
    "merges.txt",
    "tekken.json",
    "spiece.model",
    "1_Pooling/config.json",
  ])("%s goes along", (name) => {
    expect(roleOf(path.basename(name)).kind).toBe("carried");
  });

  it.each([
    "pytorch_model.bin",
    "model.onnx",
    "x.GGUF",
    "tf_model.h5",
    "adapter_model.bin",
    "adapter_config.json",
    "optimizer.bin",
    "training_args.bin",
    "conversion.json",
    "SHA256SUMS",
    "model.fp8.safetensors.index.json",
  ])("%s is left out", (name) => {
    expect(roleOf(name).kind).toBe("left out");
  });

  it.each(["notes.dat", "lookup.json", "sparse_linear.npy"])("%s is not known", (name) => {
    expect(roleOf(name).kind).toBe("unknown");
  });
});

it("what is not known goes along and is marked, and what says a layout is told apart", () => {
  const { side, leftOut, ofLayout } = sorted("tokenizer.json", "odd.dat", "quant_cfg.json");
  expect(side.map(({ name, unknown }) => [name, unknown])).toEqual([
    ["tokenizer.json", undefined],
    ["odd.dat", true],
  ]);
  expect(ofLayout).toMatchObject([{ name: "quant_cfg.json", bytes: 1 }]);
  expect(leftOut).toEqual([
    { name: "quant_cfg.json", why: expect.stringMatching(/how the source was quantised/) },
  ]);
});

it("a folder with weights of its own stays out whole; one without goes along", () => {
  const { side, leftOut } = sorted(
    "original/consolidated.00.pth",
    "original/params.json",
    "pool/config.json",
  );
  expect(side.map(({ name }) => name)).toEqual(["pool/config.json"]);
  expect(leftOut).toEqual([
    { name: "original/consolidated.00.pth", why: "weights that are not converted" },
    { name: "original/params.json", why: "goes with original/consolidated.00.pth, which is not converted" },
  ]);
});
