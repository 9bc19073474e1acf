import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { loadNative } from "../../native.js";
import { generator } from "../../testing/mutate-header.js";
import type { ConvertJob, Scheme } from "../../types/convert-job.js";
import { FP8_BLOCK } from "../formats/fp8-block128.js";
import { int4Scheme } from "../formats/int4.js";

const dir = mkdtempSync(path.join(tmpdir(), "oj"));
const [rows, columns] = [300, 200];
const random = generator(11);
// Every finite bfloat16 but the largest exponents, in no order.
const values = Uint16Array.from({ length: rows * columns }, () => (random(2) << 15) | random(0x7000));
writeFileSync(path.join(dir, "in"), values);
const source = openSync(path.join(dir, "in"), "r");
const target = openSync(path.join(dir, "out"), "w+");
afterAll(() => {
  closeSync(source);
  closeSync(target);
  rmSync(dir, { recursive: true });
});

const job: ConvertJob = {
  mode: "write",
  scheme: FP8_BLOCK,
  element: "BF16",
  nonfinite: "refuse",
  source,
  target,
  sourceOffset: 0,
  dataOffset: 64,
  scaleOffset: 0,
  rows,
  columns,
  threads: 1,
};

const [channel, group] = [
  { ...FP8_BLOCK, blockRows: 1, blockColumns: 0 },
  int4Scheme("int4_offset", "BF16", "mse"),
];
/** int4 needs whole groups. */
const schemes: [string, Scheme, number][] = [
  ["blocks", FP8_BLOCK, columns],
  ["rows", channel, columns],
  ["one scale", { ...FP8_BLOCK, blockRows: 0, blockColumns: 0 }, columns],
  ["int4, clipped", group, 128],
  ["int4", { ...group, scale: "F32", clipped: false }, 128],
  ["int4, clipped by importance", { ...group, weighted: true }, 128],
];
/** What only some schemes take. */
const factors = {
  scaled: true,
  columnFactors: Float32Array.from({ length: 128 }, (_, i) => 1 + (i % 7) / 8),
  rowFactors: Float32Array.from({ length: rows }, (_, i) => 1 / (1 + (i % 5))),
  importance: Float32Array.from({ length: 128 }, (_, i) => 1 / (1 + (i % 11))),
};

it.each(schemes)(
  "gives the same %s on every instruction set and any number of threads",
  async (_, scheme, wide) => {
    const native = loadNative();
    const more = "weighted" in scheme ? factors : {};
    const given = { ...job, ...more, scheme, columns: wide, dataOffset: 4 * rows * wide };
    const { amax } = await native.convertTensor({ ...job, columns: wide, mode: "measure" });
    const job1 = { ...given, amax };
    const first = await native.convertTensor({ ...job1, isa: "portable" });
    expect(first.stats.elements).toBe(rows * wide);
    expect(await native.convertTensor({ ...job1, threads: 3 })).toEqual(first);
    let ran = 0;
    for (const isa of ["avx2", "avx512"]) {
      // An instruction set that this CPU has not is refused by name; the best one ran above.
      const result = await Promise.resolve()
        .then(() => native.convertTensor({ ...job1, isa }))
        .catch((error: Error) => void expect(error.message).toMatch(/this CPU/));
      if (!result) continue;
      expect(result).toEqual(first);
      ran++;
    }
    expect(ran).toBeGreaterThanOrEqual(process.arch === "x64" ? 1 : 0);
    const digest = await native.convertTensor({ ...job1, mode: "digest", source: -1 });
    expect([digest.dataDigest, digest.scaleDigest]).toEqual([first.dataDigest, first.scaleDigest]);
    expect((await native.convertTensor({ ...job1, mode: "verify" })).differing).toBe(0);
  },
);

describe("codes of the same numbers", () => {
  const flat = { ...job, rows: 1, dataOffset: 1 << 20 };
  const read = (bytes: number) => {
    const out = Buffer.alloc(bytes);
    readSync(target, out, 0, bytes, flat.dataOffset);
    return out;
  };
  const given = Buffer.from(values.buffer);

  it("flip the top bit of each nibble", async () => {
    await loadNative().convertTensor({ ...flat, scheme: { code: "flip" }, element: "bytes", columns: 999 });
    expect(read(999)).toEqual(given.subarray(0, 999).map((byte) => byte ^ 0x88));
  });

  it("become wider, and the same again", async () => {
    const native = loadNative();
    const wide = { ...flat, scheme: { code: "widen" }, columns: values.length } as const;
    expect(await native.convertTensor(wide)).toMatchObject({ inexact: 0 });
    const floats = read(4 * values.length);
    expect(floats.readUInt32LE(4)).toBe((values[1] ?? 0) * 65536);
    const narrow = { ...wide, scheme: { code: "narrow" }, element: "F32" } as const;
    const back = { ...narrow, source: target, sourceOffset: flat.dataOffset, dataOffset: 0 };
    expect(await native.convertTensor(back)).toMatchObject({ inexact: 0 });
    expect(await native.convertTensor({ ...wide, mode: "verify" })).toMatchObject({ differing: 0 });
    const again = Buffer.alloc(given.length);
    readSync(target, again, 0, again.length, 0);
    expect(again.equals(given)).toBe(true);
  });

  it("are counted where they would lose bits, over tiles of many threads", async () => {
    const columns = 3 << 20; // three tiles
    const floats = Buffer.alloc(4 * columns);
    for (const at of [columns - 1, 1_500_000, 1_500_003]) floats.writeUInt32LE(0x3f80_0001, 4 * at);
    writeSync(target, floats, 0, floats.length, 1 << 20);
    const scheme = { code: "narrow" } as const;
    const from = { ...flat, source: target, sourceOffset: 1 << 20, dataOffset: 32 << 20 };
    const result = await loadNative().convertTensor({ ...from, scheme, element: "F32", columns, threads: 3 });
    expect(result).toMatchObject({ inexact: 3, firstInexact: 1_500_000 });
  });
});

it("says which call failed where", async () => {
  await expect(loadNative().convertTensor({ ...job, rows: 301 })).rejects.toMatchObject({
    call: "read",
    errno: 0,
    onTarget: false,
  });
  const refused = loadNative().convertTensor({ ...job, target: source });
  await expect(refused).rejects.toMatchObject({ call: "write", onTarget: true });
});

it.each<[keyof ConvertJob, unknown]>([
  ["mode", "writ"],
  ["element", "bytes"],
  ["element", "Q4_0"],
  ["heads", 7],
  ["scales", [1]],
  ["scales", Float32Array.of(1)],
  ["threads", 0],
  ["rows", -1],
  ["columns", 1.5],
  ["isa", "sve"],
  ["columnFactors", Float32Array.of(1)],
  ["importance", [1]],
  ["after", 1], // without scaled
  ["mode", "weigh"], // of FP8
  ["scheme", { code: "e5m2" }],
  ["scheme", { ...FP8_BLOCK, blockColumns: 96 }],
  ["scheme", { ...FP8_BLOCK, scale: "BF16" }],
  ["scheme", group], // 200 columns are no whole groups
  ["scheme", { ...group, weighted: true }],
  ["scheme", { code: "flip" }], // of BF16
])("refuses %s = %j", (key, value) => {
  expect(() => loadNative().convertTensor({ ...job, [key]: value })).toThrow(/convertTensor/);
});
