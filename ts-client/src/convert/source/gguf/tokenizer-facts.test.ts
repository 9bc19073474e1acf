import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { tinyModel, type WrittenValue, withData } from "../../../testing/gguf-file.js";
import { readGguf } from "./header.js";
import { Metadata } from "./metadata.js";
import { tokenizerFacts } from "./tokenizer-facts.js";

const dir = mkdtempSync(path.join(tmpdir(), "of"));
const file = path.join(dir, "x.gguf");
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Of a vocabulary with eight tokens. */
function factsOf(more: Readonly<Record<string, WrittenValue>>) {
  const metadata = Object.fromEntries(
    Object.entries(more).map(([key, value]) => [`tokenizer.${key}`, value]),
  );
  writeFileSync(file, withData(tinyModel({ metadata })));
  return tokenizerFacts(new Metadata(file, readGguf(file)));
}

const SPM = { "ggml.model": "llama" };
const BPE = { "ggml.model": "gpt2" };

describe("what llama.cpp does where the file does not say", () => {
  it("with pieces: a token and a space before the text", () => {
    expect(factsOf(SPM)).toEqual({
      model: "llama",
      pre: null,
      size: 8,
      add_bos: true,
      add_eos: false,
      space_prefix: true,
      tokens: { bos_token: 1, eos_token: 2, unk_token: 0 },
      templates: {},
    });
  });

  it.each([
    ["llama-bpe", true],
    ["tekken", true],
    ["qwen2", false],
    ["smollm", false],
    ["default", false],
  ])("with bytes that %s splits: a token before the text is %j", (pre, begins) => {
    const facts = factsOf({ ...BPE, "ggml.pre": pre });
    expect(facts).toMatchObject({ pre, add_bos: begins, add_eos: false, space_prefix: false, tokens: {} });
  });

  it("with bytes that nothing is said of: none", () => {
    expect(factsOf(BPE)).toMatchObject({ pre: null, add_bos: false, space_prefix: false });
  });
});

describe("what the file says", () => {
  it("is taken", () => {
    const said = {
      ...SPM,
      "ggml.add_bos_token": false,
      "ggml.add_eos_token": true,
      "ggml.add_space_prefix": false,
      "ggml.padding_token_id": 5,
      "ggml.seperator_token_id": 6,
      "ggml.unknown_token_id": 2 ** 32 - 1,
      chat_template: "a",
      chat_templates: { array: ["tool"] },
      "chat_template.tool": "b",
    };
    expect(factsOf(said)).toMatchObject({
      add_bos: false,
      add_eos: true,
      space_prefix: false,
      tokens: { bos_token: 1, eos_token: 2, unk_token: 0, pad_token: 5, sep_token: 6 },
      templates: { default: "a", tool: "b" },
    });
    expect(factsOf({ ...BPE, "ggml.pre": "llama-bpe", "ggml.add_bos_token": false }).add_bos).toBe(false);
    expect(factsOf({ ...BPE, "ggml.pre": "qwen2", "ggml.add_bos_token": true }).add_bos).toBe(true);
  });

  it.each<[string, WrittenValue, RegExp]>([
    ["ggml.add_bos_token", 1, /add_bos_token is 1, not true or false/],
    ["ggml.mask_token_id", 8, /mask_token_id is 8, which is beyond its tokens/],
    ["ggml.model", 3, /model is 3, not a string/],
    ["ggml.tokens", "x", /tokens is x, not a list/],
  ])("of %s = %j is refused", (key, value, message) => {
    expect(() => factsOf({ ...SPM, [key]: value })).toThrow(message);
  });

  it("of two templates that are used unasked is refused", () => {
    const both = { ...SPM, chat_template: "a", "chat_template.default": "b" };
    expect(() => factsOf(both)).toThrow(/two chat templates/);
  });
});
