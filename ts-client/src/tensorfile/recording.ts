/** Recordings of calls (docs/recordings.md). */
import { z } from "zod";
import { parseWithMetadata } from "./safetensors.js";
import { type FileTensor, fileError } from "./types.js";

const size = z.int().nonnegative();
const tensor = z.object({
  name: z.string(),
  dtype: z.string(),
  shape: z.array(size),
  strides: z.array(size),
  stored: z.boolean(),
});
const scalar = z.object({
  name: z.string(),
  value: z.union([z.number(), z.boolean(), z.string(), z.null()]),
});
const args = z.array(z.union([tensor, scalar]));
const whole = z.string().regex(/^\d+$/);
const metadata = z.object({
  opswap_recording: z.literal("1"),
  op: z.string(),
  op_version: whole,
  build_digest: z.string(),
  bucket: z.string(),
  rank: whole,
  step: whole,
  layer: whole,
  time_ns: whole,
  args: z.string(),
});

/** A tensor of a recorded call; `bytes` of one that the op only writes are not there. */
export interface RecordedTensor extends Omit<FileTensor, "bytes"> {
  name: string;
  bytes: Uint8Array | null;
}
export type RecordedArgument = RecordedTensor | { name: string; value: number | boolean | string | null };

export interface Recording {
  op: string;
  opVersion: number;
  buildDigest: string;
  bucket: string;
  rank: number;
  step: number;
  /** Number of the call, from 0, among those of its op in the step. */
  layer: number;
  /** When, in ms since 1970. */
  time: number;
  /** In call order. */
  args: RecordedArgument[];
}

/** A recording out of the bytes of its file. */
export function parseRecording(file: string, data: Buffer): Recording {
  const { tensors, metadata: texts } = parseWithMetadata(file, data);
  if (texts.opswap_recording === undefined)
    throw fileError(file, "is no recording: it has no opswap_recording");
  const told = metadata.safeParse(texts);
  if (!told.success)
    throw fileError(file, `has metadata that is not a recording's: ${told.error.issues[0]?.path.join(".")}`);
  return {
    op: told.data.op,
    opVersion: Number(told.data.op_version),
    buildDigest: told.data.build_digest,
    bucket: told.data.bucket,
    rank: Number(told.data.rank),
    step: Number(told.data.step),
    layer: Number(told.data.layer),
    time: Number(told.data.time_ns) / 1e6,
    args: readArgs(file, told.data.args).map((arg) => withBytes(file, arg, tensors)),
  };
}

function readArgs(file: string, text: string): z.infer<typeof args> {
  try {
    return args.parse(JSON.parse(text));
  } catch {
    throw fileError(file, "has arguments in its metadata that cannot be read");
  }
}

function withBytes(
  file: string,
  arg: z.infer<typeof tensor> | z.infer<typeof scalar>,
  tensors: ReadonlyMap<string, FileTensor>,
): RecordedArgument {
  if ("value" in arg) return { name: arg.name, value: numberOf(arg.value) };
  const { name, dtype, shape } = arg;
  if (!arg.stored) return { name, dtype, shape, bytes: null };
  const found = tensors.get(name);
  if (found === undefined || found.dtype !== dtype || found.shape.join() !== shape.join())
    throw fileError(file, `says that ${name} is ${dtype} [${shape.join(", ")}], and does not hold it`);
  return { name, dtype, shape, bytes: found.bytes };
}

/** JSON has no infinity and no NaN, so they are texts. */
function numberOf(value: number | boolean | string | null): number | boolean | string | null {
  const named = { inf: Infinity, "-inf": -Infinity, nan: NaN, "-nan": NaN };
  return typeof value === "string" && Object.hasOwn(named, value)
    ? named[value as keyof typeof named]
    : value;
}
