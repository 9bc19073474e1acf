/** Safetensors files of tensors that `opswap call` reads and writes. */
import { z } from "zod";
import { elements, type FileTensor, fileError } from "./types.js";

const NAMES: Record<string, { dtype: string; size: number }> = {
  F64: { dtype: "float64", size: 8 },
  F32: { dtype: "float32", size: 4 },
  F16: { dtype: "float16", size: 2 },
  BF16: { dtype: "bfloat16", size: 2 },
  I64: { dtype: "int64", size: 8 },
  I32: { dtype: "int32", size: 4 },
  I8: { dtype: "int8", size: 1 },
  U8: { dtype: "uint8", size: 1 },
  BOOL: { dtype: "bool", size: 1 },
  F8_E4M3: { dtype: "float8_e4m3fn", size: 1 },
  F8_E5M2: { dtype: "float8_e5m2", size: 1 },
};
/** The format's own bound on its header. */
const HEADER_BYTES = 100_000_000;

const size = z.int().nonnegative();
const entry = z.object({ dtype: z.string(), shape: z.array(size), data_offsets: z.tuple([size, size]) });
const header = z.record(z.string(), z.union([entry, z.record(z.string(), z.string())]));

/** Parses a .safetensors file into its tensors, which are views of `data`. */
export function parseSafetensors(file: string, data: Buffer): Map<string, FileTensor> {
  return parseWithMetadata(file, data).tensors;
}

/** The same, with the texts of `__metadata__`. */
export function parseWithMetadata(
  file: string,
  data: Buffer,
): { tensors: Map<string, FileTensor>; metadata: Record<string, string> } {
  if (data.length < 8) throw fileError(file, "is too short for a .safetensors file");
  const length = Number(data.readBigUInt64LE(0));
  if (length > HEADER_BYTES || 8 + length > data.length)
    throw fileError(file, `claims a header of ${length} bytes`);
  const parsed = header.safeParse(parseJson(file, data.toString("utf8", 8, 8 + length)));
  if (!parsed.success) throw fileError(file, `has a malformed header: ${parsed.error.issues[0]?.message}`);
  const body = data.subarray(8 + length);
  const tensors = new Map<string, FileTensor>();
  for (const [name, value] of Object.entries(parsed.data)) {
    if (name !== "__metadata__") tensors.set(name, tensorOf(file, name, entry.parse(value), body));
  }
  const metadata = z.record(z.string(), z.string()).safeParse(parsed.data.__metadata__ ?? {});
  return { tensors, metadata: metadata.success ? metadata.data : {} };
}

function parseJson(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw fileError(file, "has a header that is not JSON");
  }
}

function tensorOf(file: string, name: string, value: z.infer<typeof entry>, body: Buffer): FileTensor {
  const known = Object.hasOwn(NAMES, value.dtype) ? NAMES[value.dtype] : undefined;
  if (known === undefined)
    throw fileError(file, `tensor ${name} has dtype ${value.dtype}, which no op takes`);
  const [begin, end] = value.data_offsets;
  if (end > body.length || end - begin !== elements(value.shape) * known.size) {
    throw fileError(file, `tensor ${name} has offsets ${begin} to ${end}, which its shape does not fit`);
  }
  return { dtype: known.dtype, shape: value.shape, bytes: body.subarray(begin, end) };
}

/** The bytes of a .safetensors file. */
export function formatSafetensors(tensors: ReadonlyMap<string, FileTensor>): Buffer {
  const entries: Record<string, z.infer<typeof entry>> = {};
  let offset = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    const code = Object.keys(NAMES).find((key) => NAMES[key]?.dtype === dtype) ?? dtype;
    entries[name] = { dtype: code, shape: [...shape], data_offsets: [offset, offset + bytes.length] };
    offset += bytes.length;
  }
  const text = JSON.stringify(entries);
  const padded = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8), "utf8");
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded, ...[...tensors.values()].map((tensor) => tensor.bytes)]);
}
