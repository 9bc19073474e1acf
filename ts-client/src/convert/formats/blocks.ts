/** Blocks of 128 x 128, and what a group of fused matrices must be to have them. */
import type { FusedGroup } from "./types.js";

export const BLOCK = 128;

/** Scales for each block of 128 x 128, edges included. */
export const blocksOf = (shape: readonly number[]) => shape.map((extent) => Math.ceil(extent / BLOCK));

/**
 * Scale rows of neighbours would share a block, which vLLM 0.33 loads without a word and computes with the wrong scale.
 * The last part may be ragged: no other follows it. Of experts engines refuse every ragged part.
 */
export function blockObstacle({ leaves, rows, expert }: FusedGroup): string | undefined {
  const ragged = rows.findIndex((count) => count % BLOCK !== 0);
  const inner = expert && /^(gate_proj|up_proj|w1|w3)$/.test(leaves[ragged] ?? "");
  if (inner) return `experts with ${rows[ragged]} inner features, which are not whole blocks of ${BLOCK}`;
  if (ragged < 0 || ragged === rows.length - 1) return undefined;
  return `fused group: ${leaves[ragged]} has ${rows[ragged]} rows and does not end on a border of ${BLOCK}`;
}
