/** GGUF files for tests, written field by field, so that a wrong one can be written as well. */
export interface WrittenTensor {
  name: string;
  /** As the file has it: the row's length first. */
  extents: readonly number[];
  type: number;
  offset: number;
}

export type WrittenValue =
  | number
  | boolean
  | string
  | { float: number }
  | { bools: readonly boolean[] }
  /** Arrays of whole numbers in an array, as deep as it is. */
  | { nested: Nested }
  | { floats: readonly number[] }
  | { array: readonly (number | string)[] };

export type Nested = readonly (number | Nested)[];

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const u64 = (value: number | bigint) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};
const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
const float = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
};

function list(values: Nested): Buffer {
  const deep = values.some((one) => typeof one !== "number");
  const elements = values.map((one) => (typeof one === "number" ? u32(one) : list(one)));
  return Buffer.concat([u32(deep ? 9 : 4), u64(values.length), ...elements]);
}

function typed(value: WrittenValue): Buffer {
  if (typeof value === "number") return Buffer.concat([u32(4), u32(value)]);
  if (typeof value === "boolean") return Buffer.concat([u32(7), Buffer.from([Number(value)])]);
  if (typeof value === "string") return Buffer.concat([u32(8), text(value)]);
  if ("bools" in value)
    return Buffer.concat([u32(9), u32(7), u64(value.bools.length), Buffer.from(value.bools.map(Number))]);
  if ("nested" in value) return Buffer.concat([u32(9), list(value.nested)]);
  if ("float" in value) return Buffer.concat([u32(6), float(value.float)]);
  if ("floats" in value)
    return Buffer.concat([u32(9), u32(6), u64(value.floats.length), ...value.floats.map(float)]);
  const strings = typeof value.array[0] === "string";
  const elements = value.array.map((one) => (typeof one === "string" ? text(one) : u32(one)));
  return Buffer.concat([u32(9), u32(strings ? 8 : 4), u64(value.array.length), ...elements]);
}

/** A header, and zeros up to the border where the data begin. */
export function ggufHead(
  metadata: readonly (readonly [string, WrittenValue])[],
  tensors: readonly WrittenTensor[],
  version = 3,
): Buffer {
  const head = Buffer.concat([
    Buffer.from("GGUF"),
    u32(version),
    u64(tensors.length),
    u64(metadata.length),
    ...metadata.flatMap(([key, value]) => [text(key), typed(value)]),
    ...tensors.flatMap(({ name, extents, type, offset }) => [
      text(name),
      u32(extents.length),
      ...extents.map(u64),
      u32(type),
      u64(offset),
    ]),
  ]);
  return Buffer.concat([head, Buffer.alloc((32 - (head.length % 32)) % 32)]);
}

/** Name, extents, type and bytes of a row. */
const LLAMA: readonly (readonly [string, readonly number[], number, number])[] = [
  ["token_embd.weight", [32, 8], 8, 34],
  ["output_norm.weight", [32], 0, 128],
  ["blk.0.attn_norm.weight", [32], 0, 128],
  ["blk.0.attn_q.weight", [32, 32], 2, 18],
  ["blk.0.attn_k.weight", [32, 16], 2, 18],
  ["blk.0.attn_v.weight", [32, 16], 2, 18],
  ["blk.0.attn_output.weight", [32, 32], 2, 18],
  ["blk.0.ffn_norm.weight", [32], 0, 128],
  ["blk.0.ffn_gate.weight", [32, 64], 2, 18],
  ["blk.0.ffn_up.weight", [32, 64], 2, 18],
  ["blk.0.ffn_down.weight", [64, 32], 2, 36],
];

/** What is different from a Llama of one layer. */
export interface ModelChange {
  architecture?: string;
  metadata?: Readonly<Record<string, WrittenValue>>;
  /** F32 tensors more, by their extents. */
  floats?: Readonly<Record<string, readonly number[]>>;
  /** Type and bytes of a row. */
  types?: Readonly<Record<string, readonly [number, number]>>;
  /** Contents of F32 tensors; others are zeros. */
  values?: Readonly<Record<string, readonly number[]>>;
  /** The tensors that are there. */
  only?: RegExp;
}

export interface WrittenModel {
  head: Buffer;
  data: Buffer;
}

const FACTS: Readonly<Record<string, WrittenValue>> = {
  block_count: 1,
  context_length: 64,
  embedding_length: 32,
  feed_forward_length: 64,
  "attention.head_count": 2,
  "attention.head_count_kv": 1,
  "rope.dimension_count": 16,
  "rope.freq_base": { float: 10000 },
  "attention.layer_norm_rms_epsilon": { float: 1e-5 },
};
const TOKENS: Readonly<Record<string, WrittenValue>> = {
  "tokenizer.ggml.tokens": { array: ["a", "b", "c", "d", "e", "f", "g", "h"] },
  "tokenizer.ggml.token_type": { array: [1, 1, 1, 1, 1, 1, 1, 1] },
};

/** A whole Llama of one layer, of Q4_0, Q8_0 and F32 tensors, with 2 heads of 16. */
export function tinyModel(change: ModelChange): WrittenModel {
  const { architecture = "llama", types = {}, values = {}, only = /^/ } = change;
  const floats = Object.entries(change.floats ?? {}).map(
    ([name, extents]) => [name, extents, 0, 4 * (extents[0] ?? 0)] as const,
  );
  const data: Buffer[] = [];
  let offset = 0;
  const tensors = [...LLAMA, ...floats]
    .filter(([name]) => only.test(name))
    .map(([name, extents, type, row]) => {
      const [otherType, otherRow] = types[name] ?? [type, row];
      const rows = extents.slice(1).reduce((product, extent) => product * extent, 1);
      const bytes = Buffer.alloc(Math.ceil((otherRow * rows) / 32) * 32);
      for (const [i, value] of (values[name] ?? []).entries()) bytes.writeFloatLE(value, 4 * i);
      data.push(bytes);
      const one = { name, extents, type: otherType, offset };
      offset += bytes.length;
      return one;
    });
  const own = Object.entries(FACTS).map(([key, value]) => [`${architecture}.${key}`, value] as const);
  const metadata = {
    "general.architecture": architecture,
    "general.alignment": 32,
    ...Object.fromEntries(own),
    ...TOKENS,
  };
  const head = ggufHead(Object.entries({ ...metadata, ...change.metadata }), tensors);
  return { head, data: Buffer.concat(data) };
}

export const withData = ({ head, data }: WrittenModel) => Buffer.concat([head, data]);
