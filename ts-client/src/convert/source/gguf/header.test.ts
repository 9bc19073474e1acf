import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { ggufHead, tinyModel, type WrittenTensor, type WrittenValue } from "../../../testing/gguf-file.js";
import { generator } from "../../../testing/mutate-header.js";
import { OpswapError } from "../../../types/errors.js";
import { openSource } from "../open.js";
import { readGguf } from "./header.js";

/** Mutations in this run; a million by `OPSWAP_FUZZ=1000000 npx vitest run gguf/header`. */
const FUZZ = Number(process.env.OPSWAP_FUZZ ?? 2000);
const dir = mkdtempSync(path.join(tmpdir(), "og"));
const file = path.join(dir, "x.gguf");
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const A: WrittenTensor = { name: "a", extents: [32, 3], type: 2, offset: 0 };
const B: WrittenTensor = { name: "b", extents: [5], type: 0, offset: 64 };
const DATA = 96;

function write(
  metadata: readonly (readonly [string, WrittenValue])[],
  tensors: readonly WrittenTensor[],
  data = DATA,
  version = 3,
): string {
  writeFileSync(file, Buffer.concat([ggufHead(metadata, tensors, version), Buffer.alloc(data)]));
  return file;
}

describe("a header", () => {
  it("gives its metadata, and its tensors rows first in the order of their data", () => {
    const long = Array.from({ length: 2000 }, (_, i) => `t${i}`);
    const header = readGguf(
      write(
        [
          ["k", "v"],
          ["n", 7],
          ["f", { float: 1e-5 }],
          ["s", { array: [1, 2] }],
          ["t", { array: long }],
        ],
        [B, A],
      ),
    );
    expect(Object.fromEntries(header.metadata)).toEqual({
      k: "v",
      n: 7,
      f: 1e-5,
      s: [1, 2],
      t: { length: 2000 },
    });
    expect(header.tensors.map(({ name, shape, begin, end }) => ({ name, shape, begin, end }))).toEqual([
      { name: "a", shape: [3, 32], begin: 0, end: 54 },
      { name: "b", shape: [5], begin: 64, end: 84 },
    ]);
    expect(header.dataStart % 32).toBe(0);
  });

  it.each<[string, () => string, RegExp]>([
    ["of version 1", () => write([], [A, B], DATA, 1), /version 1; versions 2 and 3/],
    ["of the other byte order", () => write([], [A, B], DATA, 0x03000000), /other byte order/],
    ["with a name twice", () => write([], [A, { ...B, name: "a" }]), /names "a" twice/],
    [
      "with metadata twice",
      () =>
        write(
          [
            ["k", 1],
            ["k", 2],
          ],
          [A, B],
        ),
      /metadata "k" twice/,
    ],
    ["with no border", () => write([["general.alignment", 12]], [A, B]), /general.alignment 12/],
    ["with an unknown type", () => write([], [{ ...A, type: 99 }, B]), /type 99/],
    ["with half a group", () => write([], [{ ...A, extents: [33, 3] }, B]), /no whole number of groups/],
    ["with five dimensions", () => write([], [{ ...A, extents: [32, 1, 1, 1, 3] }, B]), /5 dimensions/],
    ["with a huge extent", () => write([], [{ ...A, extents: [2 ** 52, 2 ** 40] }, B]), /no whole number/],
    ["with a tensor inside another", () => write([], [A, { ...B, offset: 32 }]), /inside the one before it/],
    ["with a hole", () => write([], [A, { ...B, offset: 96 }], 128), /hole of 42 bytes/],
    ["with an odd place", () => write([], [A, { ...B, offset: 65 }]), /no multiple of 32/],
    ["without its data", () => write([], [A, B], 83), /83 bytes of data, its header describes 84/],
    ["with more data", () => write([], [A, B], 200), /116 bytes behind its last tensor/],
  ])("%s is refused", (_what, make, message) => {
    expect(() => readGguf(make())).toThrow(message);
  });

  it("has arrays in arrays, of which a bounded number of elements is kept", () => {
    const wide = Array.from({ length: 400 }, (_, i) => [i, i, i]);
    const header = readGguf(
      write(
        [
          ["n", { nested: [[1, 2], [3], []] }],
          ["deep", { nested: [[[[7]]]] }],
          ["wide", { nested: wide }],
          ["last", 5],
        ],
        [A, B],
      ),
    );
    expect(header.metadata.get("n")).toEqual([[1, 2], [3], []]);
    expect(header.metadata.get("deep")).toEqual([[[[7]]]]);
    const kept = header.metadata.get("wide") as unknown[];
    expect(kept).toHaveLength(400);
    expect(kept.slice(0, 2)).toEqual([
      [0, 0, 0],
      [1, 1, 1],
    ]);
    expect(kept.at(-1)).toEqual({ length: 3 });
    expect(kept.flatMap((one) => (Array.isArray(one) ? one : []))).toHaveLength(1024 - 400);
    expect(header.metadata.get("last")).toBe(5);
    expect(() => readGguf(write([["x", { nested: [[[[[1]]]]] }]], [A, B]))).toThrow(/depth of 4/);
  });

  it("whose arrays in arrays claim more than the file holds is refused before anything is allocated", () => {
    const whole = ggufHead([["k", { nested: [[1, 2], [3]] }]], []);
    // Behind the counts: a key of one letter, its type, the outer type, then the outer length; an inner type, and length.
    for (const at of [24 + 9 + 4 + 4, 24 + 9 + 4 + 4 + 8 + 4])
      for (const value of [2n ** 30n, 2n ** 62n, 2n ** 64n - 1n]) {
        const bytes = Buffer.from(whole);
        bytes.writeBigUInt64LE(value, at);
        writeFileSync(file, bytes);
        expect(() => readGguf(file)).toThrow(OpswapError);
      }
  });

  it("that claims more than the file holds is refused before anything is allocated", () => {
    const head = ggufHead([["k", "v"]], [A]);
    for (const [at, what] of [
      [8, /claims .* tensors/],
      [16, /claims .* metadata/],
      [24, /metadata key 0/],
    ] as const) {
      for (const value of [2n ** 40n, 2n ** 63n, 2n ** 64n - 1n]) {
        const bytes = Buffer.from(head);
        bytes.writeBigUInt64LE(value, at);
        writeFileSync(file, bytes);
        expect(() => readGguf(file)).toThrow(OpswapError);
        if (value === 2n ** 40n) expect(() => readGguf(file)).toThrow(what);
      }
    }
  });

  it("that is cut anywhere is refused", () => {
    const whole = Buffer.concat([ggufHead([["k", { array: ["x", "y"] }]], [A, B]), Buffer.alloc(84)]);
    for (let cut = 0; cut < whole.length; cut++) {
      writeFileSync(file, whole.subarray(0, cut));
      expect(() => readGguf(file)).toThrow(OpswapError);
    }
  });
});

it(
  `${FUZZ} mutations of a model give an error or a right result`,
  () => {
    const random = generator(23);
    const nested = { "general.tags": { nested: [[[1, 2]], [[3], []]] } };
    const { head, data } = tinyModel({ metadata: nested });
    const seen = { refused: 0, read: 0 };
    for (let i = 0; i < FUZZ; i++) {
      writeFileSync(file, Buffer.concat([mutate(head, random), data]));
      try {
        expectSound(openSource(file, "none"));
        seen.read++;
      } catch (error) {
        if (!(error instanceof OpswapError)) throw new Error(`mutation ${i}`, { cause: error });
        seen.refused++;
      }
    }
    // Both must happen, or the mutations test nothing.
    expect(seen.refused).toBeGreaterThan(FUZZ / 2);
    expect(seen.read).toBeGreaterThan(FUZZ / 200);
  },
  60_000 + 30 * FUZZ,
);

const NUMBERS = [0n, 1n, 2n, 31n, 33n, 255n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];

/** One to three changes: a bit, a number of 4 or 8 bytes, a range cut out or doubled. */
function mutate(bytes: Buffer, random: (below: number) => number): Buffer {
  let out = Buffer.from(bytes);
  for (let left = 1 + random(3); left > 0; left--) {
    const at = random(out.length - 8);
    const kind = random(4);
    if (kind === 0) out[at] = (out[at] ?? 0) ^ (1 << random(8));
    else if (kind === 1) out.writeBigUInt64LE(NUMBERS[random(NUMBERS.length)] ?? 0n, at);
    else if (kind === 2) out.writeUInt32LE(Number((NUMBERS[random(NUMBERS.length)] ?? 0n) & 0xffffffffn), at);
    else {
      const part = out.subarray(at, at + random(40));
      const again = random(2) === 0 ? [part, part] : [];
      out = Buffer.concat([out.subarray(0, at), ...again, out.subarray(at + part.length)]);
    }
  }
  return out;
}

/** Tensors lie apart and inside the file, and the config fits them. */
function expectSound({ files, config }: ReturnType<typeof openSource>): void {
  const model = JSON.parse(config ?? "");
  const named = new Map(files.flatMap(({ header }) => header.tensors).map((one) => [one.name, one]));
  let at = 0;
  for (const { bytes, header } of files)
    for (const { begin, end } of header.tensors) {
      if (begin < at || end <= begin || header.dataStart + end > bytes) throw new Error("unsound");
      at = end;
    }
  const rows = (leaf: string) => named.get(`model.layers.0.self_attn.${leaf}_proj.weight`)?.shape[0];
  const fits =
    named.get("model.embed_tokens.weight")?.shape[0] === model.vocab_size &&
    rows("q") === model.num_attention_heads * model.head_dim &&
    rows("k") === model.num_key_value_heads * model.head_dim;
  if (!fits) throw new Error(`unsound: ${config}`);
}
