import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, expect, it } from "vitest";
import { loadNative } from "../../native.js";
import { generator } from "../../testing/mutate-header.js";
import { jobPlanes } from "./job-planes.js";
import type { ScaleGrid, SourceTensor } from "./source.js";
import { splitStacked } from "./split-experts.js";

const dir = mkdtempSync(path.join(tmpdir(), "oe"));
const file = path.join(dir, "in");
const [count, inner, hidden] = [3, 200, 320];
const random = generator(5);
// Codes without NaN, then scales of BF16 between 1 and 2.
const codes = count * 2 * inner * hidden;
const bytes = Buffer.from(
  Uint8Array.from({ length: codes + 8192 }, (_, i) => {
    if (i < codes) return random(127) | (random(2) << 7);
    return i % 2 === 0 ? random(256) : 0x3f;
  }),
);
for (let i = codes; i < bytes.length; i += 2) bytes[i] = (bytes[i] ?? 0) | 0x80;
writeFileSync(file, bytes);
const source = openSync(file, "r");
const target = openSync(path.join(dir, "out"), "w+");
afterAll(() => {
  closeSync(source);
  closeSync(target);
  rmSync(dir, { recursive: true });
});

const NAME = "m.0.mlp.experts.gate_up_proj";

/** A stacked tensor of this file, with scales of a shape for blocks of a size. */
function stacked(shape: readonly number[], rows: number, columns: number, slices: number): SourceTensor {
  const end = codes + 2 * shape.reduce((product, extent) => product * extent, 1);
  const tensor = { name: `${NAME}_scale_inv`, dtype: "BF16", shape, begin: codes, end };
  const scales: ScaleGrid = { tensor, path: file, offset: codes, rows, columns };
  const stored = { scales, ...(slices === 1 ? {} : { slices }) };
  return { name: NAME, dtype: "F8_E4M3", shape: [count, 2 * inner, hidden], begin: 0, end: codes, stored };
}

async function bf16(tensor: SourceTensor): Promise<Buffer> {
  const columns = tensor.shape.at(-1) ?? 0;
  const rows = (tensor.end - tensor.begin) / columns;
  await loadNative().convertTensor({
    mode: "write",
    scheme: { code: "bf16" },
    element: tensor.dtype,
    nonfinite: "refuse",
    source,
    target,
    sourceOffset: tensor.begin,
    dataOffset: 0,
    scaleOffset: 0,
    rows,
    columns,
    threads: 1,
    ...jobPlanes(tensor, tensor.begin),
  });
  const made = Buffer.alloc(2 * rows * columns);
  readSync(target, made, 0, made.length, 0);
  return made;
}

it.each<[string, SourceTensor]>([
  ["blocks, one of which serves both parts", stacked([count, 4, 3], 128, 128, count)],
  ["small blocks", stacked([count, 8, 10], 50, 32, count)],
  ["rows", stacked([count, 2 * inner, 1], 1, hidden, count)],
  ["columns", stacked([count, 1, hidden], 2 * inner, 1, count)],
  ["experts", stacked([count], 2 * inner, hidden, count)],
  ["all experts", stacked([1], count * 2 * inner, hidden, 1)],
])("single experts are the rows of stacked ones: scales of %s", async (_, tensor) => {
  const all = await bf16(tensor);
  const split = splitStacked(tensor, { hidden, modelType: "qwen3_moe" });
  const names = [0, 1, 2].flatMap((i) =>
    ["gate", "up"].map((one) => `m.0.mlp.experts.${i}.${one}_proj.weight`),
  );
  expect(split?.weights.map(({ name }) => name)).toEqual(names);
  expect(split?.scales.map(({ scaleOf }) => scaleOf)).toEqual(names);
  const size = 2 * inner * hidden;
  for (const [i, weight] of (split?.weights ?? []).entries()) {
    expect(weight.shape).toEqual([inner, hidden]);
    expect((await bf16(weight)).equals(all.subarray(i * size, (i + 1) * size))).toBe(true);
  }
});

it("names scales as single experts have them", () => {
  const split = splitStacked(stacked([count, 4, 3], 128, 128, count), { hidden });
  expect(split?.scales[3]).toMatchObject({
    name: "m.0.mlp.experts.1.up_proj.weight_scale_inv",
    shape: [3, 3],
    begin: codes + 2 * (4 * 3 + 3),
    end: codes + 2 * (4 * 3 + 4 * 3),
  });
});

it("cuts BF16 by rows, and down_proj by experts", () => {
  const plain = {
    name: "m.experts.down_proj",
    dtype: "BF16",
    shape: [2, hidden, 64],
    begin: 8,
    end: 8 + 4 * hidden * 64,
  };
  expect(splitStacked(plain, { hidden })).toEqual({
    weights: [0, 1].map((i) => ({
      name: `m.experts.${i}.down_proj.weight`,
      dtype: "BF16",
      shape: [hidden, 64],
      begin: 8 + i * 2 * hidden * 64,
      end: 8 + (i + 1) * 2 * hidden * 64,
    })),
    scales: [],
  });
});

it.each<[string, SourceTensor, string]>([
  ["experts that multiply from the other side", stacked([count], 2 * inner, hidden, count), "llama4_text"],
  [
    "another tensor",
    { ...stacked([count], 2 * inner, hidden, count), name: "m.experts.gate_up_proj_bias" },
    "m",
  ],
  [
    "another shape",
    { ...stacked([count], 2 * inner, hidden, count), shape: [count, hidden, 2 * inner] },
    "m",
  ],
])("leaves %s", (_, tensor, modelType) => {
  expect(splitStacked(tensor, { hidden, modelType })).toBeUndefined();
});
