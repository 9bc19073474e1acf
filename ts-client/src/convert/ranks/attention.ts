/** Scales of attention that vLLM's own state has, and that files for ranks hold. */
import type { Constant, Format } from "../formats/types.js";

const SCALES = ["q", "k", "v", "prob"];

/**
 * What the state of vLLM 0.33.0's attention has beside weights: scales that are in use, all 1, and in a quantised model
 * those that a checkpoint may give, where -1 says that it gives none.
 */
export function attentionScales(attention: string, format: Format): Constant[] {
  const one = Buffer.alloc(4);
  one.writeFloatLE(1);
  const none = Buffer.from([0x80, 0xbf]); // -1 in BF16
  const used = SCALES.map((kind) => constant(`${attention}._${kind}_scale`, "F32", one));
  const given = SCALES.map((kind) => constant(`${attention}.${kind}_scale`, "BF16", none));
  return format.ranks?.kvScales ? [...used, ...given] : used;
}

const constant = (name: string, dtype: string, bytes: Buffer): Constant => ({
  tensor: { name, dtype, shape: [] },
  bytes,
});
