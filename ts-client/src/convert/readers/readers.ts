import type { Source } from "../source.js";
import { architecturesOf, ENGINES, type Engine, type Layers, layersOf } from "./layers.js";

/** What loads an output. */
export const READERS = {
  vllm: "vLLM",
  sglang: "SGLang",
  transformers: "transformers",
  trtllm: "TensorRT-LLM",
} as const;
export type Reader = keyof typeof READERS;
export const READER_IDS = Object.keys(READERS) as [Reader, ...Reader[]];

/** The layers of a source's model as a reader builds them; those of every engine where none, or no engine, is named. */
export function layersFor(source: Pick<Source, "config"> | null, reader: Reader | null): Layers {
  const named = ENGINES.filter((engine): engine is Engine => engine === reader);
  return layersOf(architecturesOf(source?.config ?? null), named.length > 0 ? named : ENGINES);
}
