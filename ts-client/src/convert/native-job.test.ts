import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, expect, it } from "vitest";
import { loadNative } from "../native.js";
import { generator } from "../testing/mutate-header.js";
import { FP8_BLOCK } from "./formats/fp8-block128.js";
import { int4Scheme } from "./formats/int4.js";
import type { Scheme } from "./formats/types.js";
import type { ConvertJob } from "./native-job.js";

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
];

it.each(schemes)(
  "gives the same %s on every instruction set and any number of threads",
  async (_, scheme, wide) => {
    const native = loadNative();
    const given = { ...job, scheme, columns: wide, dataOffset: 4 * rows * wide };
    const { amax } = await native.convertTensor({ ...given, mode: "measure" });
    const job1 = { ...given, amax };
    const first = await native.convertTensor({ ...job1, isa: "portable" });
    expect(first.stats.elements).toBe(rows * wide);
    expect(await native.convertTensor({ ...job1, threads: 3 })).toEqual(first);
    let ran = 0;
    for (const isa of ["avx2", "avx512"]) {
      // An instruction set that this CPU has not is refused by name; the best one ran above.
      const result = await Promise.resolve()
        .then(() => native.convertTensor({ ...job1, isa }))
        .catch((error: Error) => expect(error.message).toMatch(/this CPU/));
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
  ["scheme", { code: "e5m2" }],
  ["scheme", { ...FP8_BLOCK, blockColumns: 96 }],
  ["scheme", { ...FP8_BLOCK, scale: "BF16" }],
  ["scheme", group], // 200 columns are no whole groups
  ["scheme", { code: "flip" }], // of BF16
])("refuses %s = %j", (key, value) => {
  expect(() => loadNative().convertTensor({ ...job, [key]: value })).toThrow(/convertTensor/);
});
