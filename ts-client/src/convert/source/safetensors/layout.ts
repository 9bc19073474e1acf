/** Lays out a new safetensors file and makes its header. */
import { bitsOf, bytesOf } from "./dtypes.js";

/** A tensor of a file to be written. */
export interface NewTensor {
  name: string;
  dtype: string;
  shape: readonly number[];
}

export interface Placed extends NewTensor {
  bytes: number;
  /** From the start of the file. */
  offset: number;
}

export interface FileLayout {
  /** Of the file up to its data. */
  headBytes: number;
  /** Of the whole file. */
  bytes: number;
  /** In the order of their data. */
  placed: readonly Placed[];
  metadata: Readonly<Record<string, string>>;
}

/**
 * Lays out a file before a byte of it is written. Wide elements come first, so that every tensor is aligned to its
 * own element, which readers that map the file need.
 */
export function layoutFile(tensors: readonly NewTensor[], metadata: Record<string, string>): FileLayout {
  const bits = (tensor: NewTensor) => bitsOf(tensor.dtype) ?? 8;
  const ordered = tensors
    .map((tensor, i) => ({ tensor, i }))
    .sort((a, b) => bits(b.tensor) - bits(a.tensor) || a.i - b.i);
  let end = 0;
  const placed = ordered.map(({ tensor: { name, dtype, shape } }) => {
    const bytes = bytesOf(bitsOf(dtype) ?? 8, shape) ?? 0;
    end += bytes;
    return { name, dtype, shape, bytes, offset: end - bytes };
  });
  const headBytes = makeHead(placed, metadata, 0).length;
  for (const one of placed) one.offset += headBytes;
  return { headBytes, bytes: headBytes + end, placed, metadata };
}

/** Length field and JSON. It is made when it is needed: heads of models with many tensors are megabytes. */
export function headOf({ placed, metadata, headBytes }: FileLayout): Buffer {
  return makeHead(placed, metadata, headBytes);
}

function makeHead(
  placed: readonly Placed[],
  metadata: Readonly<Record<string, string>>,
  start: number,
): Buffer {
  const header: Record<string, unknown> = Object.assign(Object.create(null), { __metadata__: metadata });
  for (const { name, dtype, shape, bytes, offset } of placed)
    header[name] = { dtype, shape, data_offsets: [offset - start, offset - start + bytes] };
  const json = Buffer.from(JSON.stringify(header), "utf8");
  const padded = Math.ceil(json.length / 8) * 8;
  const head = Buffer.alloc(8 + padded, " ");
  head.writeBigUInt64LE(BigInt(padded), 0);
  json.copy(head, 8);
  return head;
}
