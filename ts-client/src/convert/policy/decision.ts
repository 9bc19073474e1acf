/** The types of what a policy decides of a tensor: whether it is quantised, and why. */
import type { Located } from "../source/source.js";

/** What happens to a tensor, and why. */
export interface Decision {
  quantize: boolean;
  why: string;
  /** A layer that loaders ask about by name, and not an embedding or a norm. */
  layer: boolean;
}

/** A tensor with what happens to it. */
export type Decided = Located & { decision: Decision };
