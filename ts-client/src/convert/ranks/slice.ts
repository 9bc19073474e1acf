/** Which rows or columns of a tensor each tensor-parallel rank has. */
import { bitsOf } from "../source/safetensors/dtypes.js";
import type { SourceTensor } from "../source/source.js";
import type { Cut, RankedModel } from "./model.js";

/** vLLM pads the vocabulary to a multiple of this, and shares out the padded rows. */
const VOCABULARY_PAD = 64;

export interface Share {
  tensor: SourceTensor;
  /** Rows of zeros after it, which the engine's parameter has and the checkpoint has not. */
  padding: number;
}

/** How many different shares of a tensor there are. */
export function sharesOf(cut: Cut, model: Pick<RankedModel, "kvHeads">, ranks: number): number {
  if (cut === "whole") return 1;
  return cut === "kv rows" ? Math.min(ranks, model.kvHeads) : ranks;
}

export const padded = (vocabulary: number) => Math.ceil(vocabulary / VOCABULARY_PAD) * VOCABULARY_PAD;

/** What a rank has of a tensor. */
export function shareOf(
  tensor: SourceTensor,
  cut: Cut,
  model: RankedModel,
  rank: number,
  ranks: number,
): Share {
  const [rows = 1, columns = 1] = tensor.shape;
  const shares = sharesOf(cut, model, ranks);
  const index = Math.floor(rank / (ranks / shares));
  if (cut === "whole") return { tensor, padding: 0 };
  if (cut === "columns") return { tensor: columnsOf(tensor, columns / shares, index), padding: 0 };
  const each = cut === "vocabulary" ? padded(rows) / shares : rows / shares;
  const begin = Math.min(each * index, rows);
  const count = Math.min(each, rows - begin);
  return { tensor: rowsOf(tensor, begin, count), padding: each - count };
}

function rowsOf(tensor: SourceTensor, begin: number, count: number): SourceTensor {
  const [rows = 1, ...rest] = tensor.shape;
  const stride = rows === 0 ? 0 : (tensor.end - tensor.begin) / rows;
  const start = tensor.begin + begin * stride;
  return { ...tensor, shape: [count, ...rest], begin: start, end: start + count * stride };
}

function columnsOf(tensor: SourceTensor, count: number, index: number): SourceTensor {
  const [rows = 0, columns = 0] = tensor.shape;
  if (count === columns) return tensor;
  const bytes = (count * (bitsOf(tensor.dtype) ?? 8)) / 8;
  const begin = tensor.begin + index * bytes;
  return { ...tensor, shape: [rows, count], begin, end: begin + rows * bytes, rowPitch: columns };
}
