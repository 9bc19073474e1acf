/** The tensors of a GGUF file by the names that engines use. */
import { convertError } from "../../errors.js";
import type { SourceTensor, Stored } from "../source.js";
import { type Family, nameOf } from "./families.js";
import type { GgufHeader, GgufTensor } from "./header.js";
import { READ_TYPES } from "./types.js";

/** What makes no tensor of its own: the config says it. */
export const CONSUMED = /^rope_freqs\.weight$/;
const PAIRED = /\.self_attn\.(q|k)_proj\.(weight|bias)$/;
const NORM = /norm\.weight$/;

export interface Heads {
  q: number;
  k: number;
}

/** The tensors of a GGUF file as engines name them. */
export function namedTensors(file: string, header: GgufHeader, family: Family, heads: Heads): SourceTensor[] {
  return header.tensors
    .filter(({ name }) => !CONSUMED.test(name))
    .flatMap((tensor) => {
      const name = nameOf(family, tensor.name);
      if (name === undefined) throw unknown(file, tensor, family);
      if (!tensor.type.read) throw unread(file, tensor);
      return name.includes("*") ? experts(file, tensor, name) : [one(file, tensor, name, family, heads)];
    });
}

function unknown(file: string, { name }: GgufTensor, { modelClass }: Family): Error {
  return convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `${file}: tensor ${JSON.stringify(name).slice(0, 120)} is not known in a ${modelClass}`,
    "leaving it out would make another model; convert the original safetensors instead",
  );
}

function unread(file: string, { name, type }: GgufTensor): Error {
  return convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `${file}: tensor ${name} is ${type.name}`,
    `types that are read: ${READ_TYPES.join(", ")}`,
  );
}

function one(file: string, tensor: GgufTensor, name: string, family: Family, heads: Heads): SourceTensor {
  const { type, shape, begin, end } = tensor;
  if (shape.length > 2)
    throw convertError(
      "OPSWAP_E_CANNOT_CONVERT",
      `${file}: tensor ${tensor.name} has ${shape.length} dimensions`,
    );
  const kind = PAIRED.exec(name)?.[1];
  const count = family.paired && kind !== undefined ? heads[kind as "q" | "k"] : undefined;
  const stored: Stored = {
    ...(count === undefined ? {} : { heads: count }),
    ...(family.raisedNorms && NORM.test(name) ? { add: -1 } : {}),
  };
  const plain = type.name === "BF16" && Object.keys(stored).length === 0;
  return { name, dtype: type.name, shape, begin, end, ...(plain ? {} : { stored }) };
}

/** A tensor of all experts, cut into one for each. */
function experts(
  file: string,
  { name, type, shape, begin, end }: GgufTensor,
  pattern: string,
): SourceTensor[] {
  const [count = 0, ...rest] = shape;
  if (rest.length !== 2)
    throw convertError("OPSWAP_E_SOURCE", `${file}: tensor ${name} has ${shape.length} dimensions, not 3`);
  const bytes = (end - begin) / count;
  const stored = type.name === "BF16" ? {} : { stored: {} };
  return Array.from({ length: count }, (_, i) => ({
    name: pattern.replace("*", String(i)),
    dtype: type.name,
    shape: rest,
    begin: begin + i * bytes,
    end: begin + (i + 1) * bytes,
    ...stored,
  }));
}
