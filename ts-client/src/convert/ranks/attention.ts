import type { Format } from "../formats/types.js";
import type { NewTensor } from "../source/safetensors/layout.js";

/** A tensor whose bytes are known. */
export interface Beside {
  tensor: NewTensor;
  bytes: Buffer;
}

const SCALES = ["q", "k", "v", "prob"];

/**
 * What the state of vLLM 0.33.0's attention has beside weights: scales that are in use, all 1, and in a quantised model
 * those that a checkpoint may give, where -1 says that it gives none.
 */
export function attentionScales(attention: string, format: Format): Beside[] {
  const one = Buffer.alloc(4);
  one.writeFloatLE(1);
  const none = Buffer.from([0x80, 0xbf]); // -1 in BF16
  const used = SCALES.map((kind) => beside(`${attention}._${kind}_scale`, "F32", one));
  const given = SCALES.map((kind) => beside(`${attention}.${kind}_scale`, "BF16", none));
  return format.ranks?.kvScales ? [...used, ...given] : used;
}

const beside = (name: string, dtype: string, bytes: Buffer): Beside => ({
  tensor: { name, dtype, shape: [] },
  bytes,
});
