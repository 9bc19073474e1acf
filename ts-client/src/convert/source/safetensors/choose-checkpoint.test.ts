import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, expect, it } from "vitest";
import { OpswapError } from "../../../types/errors.js";
import { chooseCheckpoint } from "./choose-checkpoint.js";

const dir = mkdtempSync(path.join(tmpdir(), "oc"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
let count = 0;

/** A folder with these files; an index is given by the files that it names. */
function folder(names: readonly string[], indexes: Readonly<Record<string, readonly string[]>> = {}): string {
  const at = path.join(dir, String(count++));
  mkdirSync(at);
  for (const name of names) writeFileSync(path.join(at, name), "");
  for (const [name, files] of Object.entries(indexes)) {
    const map = Object.fromEntries(files.map((file, i) => [`t${i}`, file]));
    writeFileSync(path.join(at, name), JSON.stringify({ weight_map: map }));
  }
  return at;
}

const INDEX = "model.safetensors.index.json";
const ONE = "model.safetensors";
const part = (no: number, of: number) => `model-0000${no}-of-0000${of}.safetensors`;
const TWO = [part(1, 2), part(2, 2)];

it.each<[string, string[], Record<string, string[]>, string[], Record<string, RegExp>]>([
  ["one file of any name", ["weights.safetensors"], {}, ["weights.safetensors"], {}],
  ["Mistral's other names", [ONE, "consolidated.safetensors"], {}, [ONE], { consolidated: /Mistral/ }],
  ["an adapter beside it", [ONE, "adapter_model.safetensors"], {}, [ONE], { adapter_model: /an adapter/ }],
  ["a variant beside it", [ONE, "model.fp16.safetensors"], {}, [ONE], { "model.fp16": /variant fp16/ }],
  ["a draft head", [ONE, "mtp.safetensors"], {}, [ONE], { mtp: /draft head/ }],
  [
    "a file of any other name",
    [ONE, "x.safetensors"],
    {},
    [ONE],
    { x: /not of the checkpoint that model.saf/ },
  ],
  [
    "parts of another beside one file",
    [ONE, ...TWO],
    {},
    [ONE],
    { "model-00001-of-00002": /not of the checkpoint/, "model-00002-of-00002": /not of/ },
  ],
  ["parts without an index", TWO, {}, TWO, {}],
  [
    "parts and Mistral's parts",
    [...TWO, "consolidated-00001-of-00001.safetensors"],
    {},
    TWO,
    { "consolidated-00001-of-00001": /Mistral/ },
  ],
  [
    "parts and parts of a variant",
    [...TWO, "model-00001-of-00002.fp16.safetensors", "model.bf16-00001-of-00001.safetensors"],
    {},
    TWO,
    { "model-00001-of-00002.fp16": /fp16/, "model.bf16-00001-of-00001": /bf16/ },
  ],
  [
    "parts counted from 0",
    [part(0, 2), part(1, 2), part(2, 2)],
    {},
    [part(0, 2), part(1, 2), part(2, 2)],
    {},
  ],
  [
    "parts with the ending inside",
    ["model.safetensors-00001-of-00002.safetensors", "model.safetensors-00002-of-00002.safetensors"],
    {},
    ["model.safetensors-00001-of-00002.safetensors", "model.safetensors-00002-of-00002.safetensors"],
    {},
  ],
  [
    "numbered files",
    ["model-0.safetensors", "model-1.safetensors"],
    {},
    ["model-0.safetensors", "model-1.safetensors"],
    {},
  ],
  [
    "an index and what it does not name",
    [...TWO, "consolidated.safetensors", "mtp.safetensors"],
    { [INDEX]: TWO },
    TWO,
    { consolidated: /Mistral/, mtp: /draft head/ },
  ],
  [
    "an index that names a draft head",
    ["a.safetensors", "mtp.safetensors"],
    { [INDEX]: ["a.safetensors", "mtp.safetensors"] },
    ["a.safetensors", "mtp.safetensors"],
    {},
  ],
  ["an index of the one file", [ONE], { [INDEX]: [ONE] }, [ONE], {}],
  [
    "one file beside the index of a variant",
    [ONE, part(1, 1)],
    { "model.fp8.safetensors.index.json": [part(1, 1)] },
    [ONE],
    { "model-00001-of-00001": /not of the checkpoint/ },
  ],
  [
    "an index of another name alone",
    ["x-1.safetensors", "y-1.safetensors"],
    { "diffusion_pytorch_model.safetensors.index.json": ["x-1.safetensors", "y-1.safetensors"] },
    ["x-1.safetensors", "y-1.safetensors"],
    {},
  ],
])("of %s, the one checkpoint is taken and the rest named", (_what, names, indexes, taken, left) => {
  const chosen = chooseCheckpoint(folder(names, indexes), "M");
  expect(chosen.names).toEqual(taken);
  expect([...chosen.why.keys()].sort()).toEqual(
    Object.keys(left)
      .map((name) => `${name}.safetensors`)
      .sort(),
  );
  for (const [name, reason] of Object.entries(left))
    expect(chosen.why.get(`${name}.safetensors`)).toMatch(reason);
});

it.each<[string, string[], Record<string, string[]>, RegExp]>([
  ["two names", ["a.safetensors", "b.safetensors"], {}, /one checkpoint: a.safetensors, b.safetensors/],
  ["two counts", [...TWO, part(1, 1)], {}, /model-00001-of-00001.safetensors, model-00001-of-00002/],
  ["variants alone", ["m.fp16.safetensors", "m.fp32.safetensors"], {}, /m.fp16.safetensors, m.fp32/],
  ["parts and another file", [...TWO, "x.safetensors"], {}, /model-00001-of-00002.safetensors, x.safe/],
  // transformers loads the one, vLLM the other.
  [
    "one file and an index of others",
    [ONE, ...TWO],
    { [INDEX]: TWO },
    /model.safetensors, model.safetensors.index/,
  ],
  [
    "two indexes",
    TWO,
    { "a.safetensors.index.json": [part(1, 2)], "b.safetensors.index.json": [part(2, 2)] },
    /a.safetensors.index.json, b.safetensors.index.json/,
  ],
  ["an adapter alone", ["adapter_model.safetensors"], {}, /is an adapter, which is no model/],
  ["a part too few", [part(1, 3), part(3, 3)], {}, /lacks model-00002-of-00003.safetensors/],
  ["no last part", [part(0, 2), part(1, 2)], {}, /lacks model-00002-of-00002.safetensors/],
  ["no first parts", [part(3, 3)], {}, /lacks model-00001-of-00003.safetensors, model-00002-of-00003/],
  ["a gap in its numbers", ["m-0.safetensors", "m-2.safetensors"], {}, /lacks m-1.safetensors/],
  ["nothing", [], {}, /has no .safetensors file$/],
  ["several GGUF files", ["a.gguf", "b.GGUF"], {}, /2 GGUF files: a.gguf, b.GGUF/],
])(
  "a folder with %s is refused, and no remedy is to fetch what is not damaged",
  (_what, names, indexes, message) => {
    const at = folder(names, indexes);
    try {
      chooseCheckpoint(at, "M");
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(OpswapError);
      expect((error as OpswapError).message).toMatch(message);
      expect((error as OpswapError).remedy).not.toMatch(/damaged/);
    }
  },
);
