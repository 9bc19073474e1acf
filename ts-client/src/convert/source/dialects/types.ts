/** The type of what a checkpoint says of its quantisation. */
import type { Block } from "./scale-extents.js";

/** What a checkpoint says of its quantisation. */
export interface Quantization {
  /** In config.json's words; null where it says nothing. */
  method: string | null;
  /** Whether config.json names a tool whose codes are read; a file beside it may be of another checkpoint. */
  known: boolean;
  /** A tool, or a way of one, whose codes are not read. */
  unread?: string;
  /** Sides of the blocks of FP8. */
  block?: Block;
  /** Bits of a code, where it is one number for all. */
  bits?: number;
  /** Columns that share a scale; the whole row where it is less than 1. */
  group?: number;
  /** Whether zeros are stored as they are, and not less 1. */
  zerosAsTheyAre?: boolean;
}

export type MethodFacts = Omit<Quantization, "method" | "known">;
