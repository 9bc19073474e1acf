/** The type of what `opswap convert inspect` finds in a checkpoint. */
import type { KeyFate } from "./gguf/keys.js";

/** What is in a checkpoint, by its headers. */
export interface Inspection {
  root: string;
  files: { name: string; bytes: number; tensors: number; metadata: Readonly<Record<string, string>> }[];
  dtypes: { dtype: string; tensors: number; bytes: number }[];
  tensors: { name: string; dtype: string; shape: readonly number[]; bytes: number; file: string }[];
  /** Of a GGUF file that can be converted: what would become of each metadata key. */
  fates: KeyFate[] | null;
  /** Where it is an output of the converter. */
  layout: { id: string; version: number } | null;
}
