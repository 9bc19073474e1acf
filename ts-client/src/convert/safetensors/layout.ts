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
  /** Length field and JSON: the file up to its data. */
  head: Buffer;
  /** Of the whole file. */
  bytes: number;
  placed: ReadonlyMap<string, Placed>;
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
  const header: Record<string, unknown> = Object.assign(Object.create(null), { __metadata__: metadata });
  const sizes: Placed[] = [];
  let end = 0;
  for (const { tensor } of ordered) {
    const bytes = bytesOf(bits(tensor), tensor.shape) ?? 0;
    sizes.push({ ...tensor, bytes, offset: end });
    header[tensor.name] = { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [end, end + bytes] };
    end += bytes;
  }
  const head = headOf(JSON.stringify(header));
  const placed = new Map(sizes.map((one) => [one.name, { ...one, offset: head.length + one.offset }]));
  return { head, bytes: head.length + end, placed };
}

function headOf(text: string): Buffer {
  const json = Buffer.from(text, "utf8");
  const padded = Math.ceil(json.length / 8) * 8;
  const head = Buffer.alloc(8 + padded, " ");
  head.writeBigUInt64LE(BigInt(padded), 0);
  json.copy(head, 8);
  return head;
}
