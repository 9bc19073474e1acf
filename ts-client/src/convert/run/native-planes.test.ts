import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, expect, it } from "vitest";
import { loadNative } from "../../native.js";
import { generator } from "../../testing/mutate-header.js";
import type { ConvertJob, Scheme } from "../../types/convert-job.js";
import { FP8_BLOCK } from "../formats/fp8-block128.js";

const dir = mkdtempSync(path.join(tmpdir(), "op"));
const [high, wide] = [1100, 3072];
const random = generator(7);
const bytes = Buffer.from(Uint8Array.from({ length: (high * wide) / 2 }, () => random(256)));
// Scales and zeros from another place of the same file.
const file = path.join(dir, "in");
writeFileSync(file, bytes);
const source = openSync(file, "r");
const target = openSync(path.join(dir, "out"), "w+");
afterAll(() => {
  closeSync(source);
  closeSync(target);
  rmSync(dir, { recursive: true });
});

const job: ConvertJob = {
  mode: "write",
  scheme: { code: "bf16" },
  element: "bytes",
  nonfinite: "refuse",
  source,
  target,
  sourceOffset: 0,
  dataOffset: 0,
  scaleOffset: 4 * high * wide,
  rows: high,
  columns: wide,
  threads: 1,
};
const straight = { offset: 0, element: "U4", pitch: wide, lines: high };
const turned = { offset: 0, element: "U4", byColumns: true, pitch: 1104, lines: wide };
const grid = { path: file, offset: 77, element: "I8", pitch: 24, lines: 550, rows: 2, columns: 128 };
const down = { ...grid, byColumns: true, pitch: high, lines: 24, rows: 1 };
const groups = Int32Array.from({ length: wide }, (_, i) => (i * 7) % 24);
const bf16: Scheme = { code: "bf16" };
const layouts: [string, Scheme, Partial<ConvertJob>][] = [
  ["halves of bytes", bf16, { codes: straight, zero: 8, scales: grid }],
  ["halves to blocks", FP8_BLOCK, { codes: straight, zero: 8, scales: grid }],
  ["two slices", bf16, { codes: { ...straight, lines: 550 }, slices: 2, scales: { ...grid, lines: 275 } }],
  ["groups that are no neighbours", bf16, { codes: straight, zeros: grid, scales: grid, groups }],
  ["columns of words", bf16, { codes: { ...turned, pitch: high, packing: "across" }, scales: down }],
  ["columns to blocks", FP8_BLOCK, { codes: { ...turned, pitch: high, packing: "across" }, scales: down }],
  [
    "columns of eights",
    bf16,
    { codes: { ...turned, packing: "awq" }, scales: down, zeros: down, columns: 3008 },
  ],
  [
    "columns of eights to rows",
    { ...FP8_BLOCK, blockRows: 1, blockColumns: 0 },
    {
      codes: { ...turned, packing: "awq" },
      scales: down,
      columns: 3008,
    },
  ],
];

it.each(layouts)("%s are the same on every instruction set, in every mode", async (_, scheme, layout) => {
  const native = loadNative();
  const given = { ...job, scheme, ...layout };
  const first = await native.convertTensor({ ...given, isa: "portable" });
  expect(await native.convertTensor({ ...given, threads: 3 })).toEqual(first);
  for (const isa of ["avx2", "avx512"]) {
    const result = await Promise.resolve()
      .then(() => native.convertTensor({ ...given, isa }))
      .catch((error: Error) => void expect(error.message).toMatch(/this CPU/));
    if (result) expect(result).toEqual(first);
  }
  const digest = await native.convertTensor({ ...given, mode: "digest", source: -1 });
  expect([digest.dataDigest, digest.scaleDigest]).toEqual([first.dataDigest, first.scaleDigest]);
  expect((await native.convertTensor({ ...given, mode: "verify" })).differing).toBe(0);
  expect((await native.convertTensor({ ...given, mode: "measure" })).amax).toBeGreaterThan(128);
});

/** An element of the target, in BF16. */
function at(row: number, column: number): number {
  const found = Buffer.alloc(4);
  readSync(target, found, 2, 2, 2 * (row * wide + column));
  return found.readFloatLE(0);
}

it("takes the code, its group's zero and its group's scale from their places", async () => {
  await loadNative().convertTensor({ ...job, codes: straight, zeros: grid, scales: grid, groups });
  for (const [row, column] of [
    [0, 0],
    [1, 1],
    [511, 2048],
    [1099, 3071],
  ] as const) {
    const code = ((bytes[(row * wide + column) >> 1] ?? 0) >> (4 * (column % 2))) & 15;
    const block = bytes.readInt8(77 + (row >> 1) * 24 + (groups[column] ?? 0));
    expect(at(row, column)).toBe(
      new Float32Array(new Uint32Array([rounded((code - block) * block)]).buffer)[0],
    );
  }
});

/** Bits of the nearest BF16, ties to even, as a float32. */
function rounded(x: number): number {
  const bits = new Uint32Array(Float32Array.of(x).buffer)[0] ?? 0;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000) >>> 0;
}

it("says of which file a scale cannot be read", async () => {
  const missing = { ...grid, path: path.join(dir, "none") };
  const gone = loadNative().convertTensor({ ...job, codes: straight, scales: missing });
  await expect(gone).rejects.toMatchObject({ call: "open", onTarget: false, path: missing.path });
  const short = loadNative().convertTensor({
    ...job,
    codes: straight,
    scales: { ...grid, offset: bytes.length },
  });
  await expect(short).rejects.toMatchObject({ call: "read", errno: 0, path: file });
});

it.each<[string, Partial<ConvertJob>]>([
  ["codes that are copied", { scheme: { code: "copy" } }],
  ["an odd pitch of halves", { codes: { ...straight, pitch: 3 } }],
  ["floats in words", { codes: { ...straight, element: "F32", packing: "across" } }],
  ["an element that has no plane", { codes: { ...straight, element: "Q4_0" } }],
  ["a group that is not there", { scales: grid, groups: groups.map((one) => one + 1) }],
  ["groups of other columns", { scales: grid, groups: groups.subarray(1) }],
  ["slices that rows are no multiple of", { slices: 7 }],
  ["slices in blocks", { slices: 2, scheme: FP8_BLOCK }],
  ["heads", { heads: 2 }],
])("refuses %s", (_, more) => {
  const refused = () => loadNative().convertTensor({ ...job, codes: straight, ...more });
  expect(refused).toThrow(/convertTensor/);
});

it("refuses zeros of elements that lie row after row", () => {
  expect(() => loadNative().convertTensor({ ...job, element: "BF16", zeros: grid })).toThrow(/go with codes/);
});
