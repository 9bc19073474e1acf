import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { generator, mutate } from "../../../testing/mutate-header.js";
import { OpswapError } from "../../../types/errors.js";
import { duplicateKey } from "../../text/duplicate-keys.js";
import { bitsOf, bytesOf } from "./dtypes.js";
import { type Header, parseHeader, readHeader } from "./header.js";
import { headOf, layoutFile } from "./layout.js";

const dir = mkdtempSync(path.join(tmpdir(), "oh"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Mutations in this run; a million by `OPSWAP_FUZZ=1000000 npx vitest run header`. */
const FUZZ = Number(process.env.OPSWAP_FUZZ ?? 20_000);

const GOOD = {
  __metadata__: { format: "pt" },
  a: { dtype: "BF16", shape: [2, 3], data_offsets: [0, 12] },
  "b.weight": { dtype: "F32", shape: [], data_offsets: [12, 16] },
  empty: { dtype: "I64", shape: [0, 4], data_offsets: [16, 16] },
  nibbles: { dtype: "F4", shape: [4, 2], data_offsets: [16, 20] },
};

function parse(header: unknown, dataBytes = 20): Header {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  return parseHeader("f", text, 8 + text.length + dataBytes);
}

function changed(tensor: string, entry: object): unknown {
  return { ...GOOD, [tensor]: { ...GOOD[tensor as "a"], ...entry } };
}

describe("a header", () => {
  it("gives its tensors in the order of their data", () => {
    const { tensors, metadata, dataStart } = parse(GOOD);
    expect(tensors.map((one) => one.name)).toEqual(["a", "b.weight", "empty", "nibbles"]);
    expect(metadata).toEqual({ format: "pt" });
    expect(dataStart).toBe(8 + JSON.stringify(GOOD).length);
  });

  it.each<[string, unknown, RegExp]>([
    ["is not an object", "[]", /does not begin with/],
    ["begins with a blank", ` ${JSON.stringify(GOOD)}`, /does not begin with/],
    ["is not JSON", '{"a":', /not JSON/],
    ["has an unknown dtype", changed("a", { dtype: "BF17" }), /tensor "a" has dtype BF17/],
    ["has a dtype of a prototype", changed("a", { dtype: "toString" }), /dtype toString/],
    ["has a negative extent", changed("a", { shape: [-2, -3] }), /tensor "a": shape/],
    ["has a fraction", changed("a", { shape: [2.5, 3] }), /tensor "a": shape/],
    [
      "has a shape beyond any memory",
      changed("a", { shape: [2 ** 40, 2 ** 40] }),
      /no whole number of bytes/,
    ],
    ["has half a byte", changed("nibbles", { shape: [7] }), /no whole number of bytes/],
    ["has a span that is not the shape's", changed("a", { data_offsets: [0, 11] }), /need 12 bytes/],
    ["has its span the wrong way round", changed("a", { data_offsets: [12, 0] }), /need 12 bytes/],
    [
      "overlaps",
      changed("b.weight", { data_offsets: [8, 12] }),
      /inside the one before it, which ends at 12/,
    ],
    ["leaves a hole", changed("b.weight", { data_offsets: [14, 18] }), /hole of 2 bytes/],
    ["has metadata that are no strings", { ...GOOD, __metadata__: { a: 1 } }, /__metadata__/],
    ["has an entry that is no tensor", { ...GOOD, x: 3 }, /tensor "x"/],
    [
      "names a tensor twice",
      JSON.stringify(GOOD).replace('"b.weight"', '"a"'),
      /names "a" twice in its header/,
    ],
    [
      "names a tensor twice, once escaped",
      JSON.stringify(GOOD).replace('"b.weight"', '"\\u0061"'),
      /names "a" twice/,
    ],
  ])("that %s is refused", (_what, header, message) => {
    expect(() => parse(header)).toThrow(message);
  });

  it("is refused when data are missing or left over", () => {
    expect(() => parse(GOOD, 19)).toThrow(/19 bytes of data, its header describes 20: it is truncated/);
    expect(() => parse(GOOD, 21)).toThrow(/1 bytes behind its last tensor/);
  });

  it("is refused where it is no UTF-8", () => {
    const text = Buffer.from(JSON.stringify(GOOD).replace("pt", "p\u00ff"), "latin1");
    expect(() => parseHeader("f", text, 8 + text.length + 20)).toThrow(/not JSON/);
  });
});

describe("a file", () => {
  const file = path.join(dir, "x.safetensors");
  const length = (claimed: bigint) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(claimed);
    return bytes;
  };

  it("that claims a header of 100 GB is refused without reading it", () => {
    writeFileSync(file, length(100_000_000_000n));
    expect(() => readHeader(file)).toThrow(
      /claims a header of 100000000000 bytes; the format allows 100000000/,
    );
    writeFileSync(file, length(2n ** 64n - 1n));
    expect(() => readHeader(file)).toThrow(/claims a header of 18446744073709551615/);
  });

  it("that is cut anywhere is refused", () => {
    const layout = layoutFile([{ name: "a", dtype: "U8", shape: [40] }], {});
    const [head, bytes] = [headOf(layout), layout.bytes];
    for (let cut = 0; cut < bytes; cut++) {
      writeFileSync(file, Buffer.concat([head, Buffer.alloc(bytes - head.length)]));
      truncateSync(file, cut);
      expect(() => readHeader(file)).toThrow(OpswapError);
    }
  });

  it("that was laid out here is read back, every tensor aligned to its element", () => {
    const tensors = [
      { name: "a", dtype: "F8_E4M3", shape: [3] },
      { name: "b", dtype: "F32", shape: [5] },
      { name: "\u00e9", dtype: "BF16", shape: [1] },
      { name: "__proto__", dtype: "I64", shape: [1] },
    ];
    const layout = layoutFile(tensors, { format: "pt" });
    const [head, bytes] = [headOf(layout), layout.bytes];
    const placed = new Map(layout.placed.map((one) => [one.name, one]));
    writeFileSync(file, Buffer.concat([head, Buffer.alloc(bytes - head.length)]));
    const header = readHeader(file);
    expect(header.tensors.map((one) => one.name)).toEqual(["__proto__", "b", "\u00e9", "a"]);
    expect(head.length % 8).toBe(0);
    for (const one of header.tensors) {
      expect(placed.get(one.name)?.offset).toBe(header.dataStart + one.begin);
      expect((one.begin * 8) % (bitsOf(one.dtype) ?? 0)).toBe(0);
    }
  });
});

it.each([
  ['{"a":1,"b":{"a":2}}', undefined],
  ['{"a":"b","b":"a"}', undefined],
  ['{"a":[{"x":1},{"x":1}]}', undefined],
  ['{"a" : 1, "c":2,"a"\t:3}', "a"],
  ['{"a":{"x":1,"x":2}}', "x"],
  ['{"\\"":1,"\\\\":2,"\\"":3}', '"'],
])("duplicateKey of %s is %s", (text, key) => {
  expect(duplicateKey(text)).toBe(key);
});

it(`${FUZZ} mutations give an error or a right result`, () => {
  const random = generator(7);
  const base = Buffer.from(JSON.stringify(GOOD));
  const seen = { refused: 0, read: 0 };
  for (let i = 0; i < FUZZ; i++) {
    const bytes = mutate(base, random);
    try {
      expectSound(parseHeader("f", bytes, 8 + bytes.length + 20));
      seen.read++;
    } catch (error) {
      if (!(error instanceof OpswapError))
        throw new Error(`${JSON.stringify(bytes.toString())}`, { cause: error });
      seen.refused++;
    }
  }
  // Both must happen, or the mutations test nothing.
  expect(seen.refused).toBeGreaterThan(FUZZ / 2);
  expect(seen.read).toBeGreaterThan(FUZZ / 100);
}, 600_000);

/** The tensors cover 20 bytes of data exactly once, each as long as its dtype and shape say. */
function expectSound({ tensors }: Header): void {
  let at = 0;
  for (const { dtype, shape, begin, end } of tensors) {
    if (begin !== at || end - begin !== bytesOf(bitsOf(dtype) ?? 0, shape)) throw new Error("unsound");
    at = end;
  }
  if (at !== 20 || new Set(tensors.map((one) => one.name)).size !== tensors.length)
    throw new Error("unsound");
}
