/** MXFP4 weights of GPT-OSS in a source. */
import type { PlaneLayout } from "../../../types/convert-job.js";
import type { Located } from "../source.js";
import { ORIGINAL, partOf, type Reading } from "./reading.js";

const GROUP = 32;

/**
 * GPT-OSS' experts: X_blocks [experts, rows, groups, 16] with an exponent for each group in X_scales. Its models multiply
 * from the other side, so X is [experts, columns, rows], as transformers and vLLM read it in BF16.
 */
export function takeMxfp4(reading: Reading): void {
  for (const one of reading.all) {
    const { name, dtype, shape } = one.tensor;
    if (!name.endsWith("_blocks") || dtype !== "U8" || shape.length !== 4) continue;
    const stem = name.slice(0, -"_blocks".length);
    const scales = reading.named(`${stem}_scales`);
    const fits = scales?.tensor.dtype === "U8" && scales.tensor.shape.join() === shape.slice(0, 3).join();
    if (scales === undefined || !fits || shape[3] !== GROUP / 2)
      throw reading.wrong(one, `has no ${stem}_scales with a byte for each ${GROUP} of its codes`, ORIGINAL);
    takeBlocks(reading, one, scales, stem);
  }
}

function takeBlocks(reading: Reading, codes: Located, scales: Located, name: string): void {
  const [slices = 0, lines = 0, groups = 0] = codes.tensor.shape;
  const columns = GROUP * groups;
  const layout: PlaneLayout = { element: "E2M1", byColumns: true, pitch: columns, lines };
  const own: PlaneLayout = { element: "E8M0", byColumns: true, pitch: groups, lines };
  const grid = { ...partOf(scales), rows: GROUP, columns: 1, layout: own };
  const shape = [slices, columns, lines];
  reading.take(codes, { name, dtype: "MXFP4", shape }, { codes: layout, scales: grid, slices });
  reading.leave(name, [scales]);
}
