/** GGUF files for tests, written field by field, so that a wrong one can be written as well. */
export interface WrittenTensor {
  name: string;
  /** As the file has it: the row's length first. */
  extents: readonly number[];
  type: number;
  offset: number;
}

export type WrittenValue = number | string | { float: number } | { array: readonly (number | string)[] };

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

function typed(value: WrittenValue): Buffer {
  if (typeof value === "number") return Buffer.concat([u32(4), u32(value)]);
  if (typeof value === "string") return Buffer.concat([u32(8), text(value)]);
  if ("float" in value) return Buffer.concat([u32(6), float(value.float)]);
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

/** A whole Llama of one layer, of Q4_0, Q8_0 and F32 tensors, with 2 heads of 16. */
export function tinyLlama(): { head: Buffer; dataBytes: number } {
  let offset = 0;
  const tensors = LLAMA.map(([name, extents, type, rowBytes]) => {
    const one = { name, extents, type, offset };
    offset += Math.ceil((rowBytes * (extents[1] ?? 1)) / 32) * 32;
    return one;
  });
  const metadata: [string, WrittenValue][] = [
    ["general.architecture", "llama"],
    ["general.alignment", 32],
    ["llama.block_count", 1],
    ["llama.context_length", 64],
    ["llama.embedding_length", 32],
    ["llama.feed_forward_length", 64],
    ["llama.attention.head_count", 2],
    ["llama.attention.head_count_kv", 1],
    ["llama.rope.dimension_count", 16],
    ["llama.rope.freq_base", { float: 10000 }],
    ["llama.attention.layer_norm_rms_epsilon", { float: 1e-5 }],
    ["tokenizer.ggml.tokens", { array: ["a", "b", "c", "d", "e", "f", "g", "h"] }],
    ["tokenizer.ggml.token_type", { array: [1, 1, 1, 1, 1, 1, 1, 1] }],
  ];
  return { head: ggufHead(metadata, tensors), dataBytes: offset };
}
