/** The largest magnitude of tensors that share one scale, measured before the first of them is encoded. */
import { closeSync, openSync } from "node:fs";
import { loadNative } from "../../native.js";
import { COPY } from "../formats/types.js";
import type { PlannedTensor } from "../plan/types.js";
import { jobPlanes } from "../source/job-planes.js";
import type { Located } from "../source/source.js";

/** Largest weights of tensors that share one scale; each group is read once, before the first of it is encoded. */
export class SharedAmax {
  readonly #known = new Map<string, number>();

  /** 0 for a tensor that has scales of its own. */
  async of({ together }: PlannedTensor, threads: number): Promise<number> {
    const key = together[0]?.tensor.name;
    if (key === undefined) return 0;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    let most = 0;
    for (const one of together) most = Math.max(most, await measure(one, threads));
    this.#known.set(key, most);
    return most;
  }
}

/** What is not finite is left to the tensor's own turn. */
async function measure({ file, tensor }: Located, threads: number): Promise<number> {
  const source = openSync(file.path, "r");
  try {
    const result = await loadNative().convertTensor({
      mode: "measure",
      scheme: COPY,
      element: tensor.dtype,
      nonfinite: "keep",
      source,
      target: -1,
      sourceOffset: file.header.dataStart + tensor.begin,
      dataOffset: 0,
      scaleOffset: 0,
      rows: tensor.shape[0] ?? 0,
      columns: tensor.shape[1] ?? 0,
      threads,
      ...jobPlanes(tensor, file.header.dataStart + tensor.begin),
    });
    return result.amax;
  } finally {
    closeSync(source);
  }
}
