import { z } from "zod";
import { type ManifestOp, OpswapError } from "../client/index.js";
import { type FileTensor, isTensorFile, readTensor } from "../tensorfile/index.js";

/** What the command line gives for one argument: a tensor from a file, a scalar, or null for none. */
export type Given = FileTensor | number | bigint | boolean | string | null;

/** A tensor argument as the manifest declares it; what no file gives is worked out from the others. */
const declaration = z.object({
  name: z.string(),
  kind: z.literal("tensor"),
  dtype: z.string(),
  shape: z.array(z.union([z.string(), z.number()])),
  writes: z.boolean().default(false),
  optional: z.boolean().default(false),
});
type Declaration = z.infer<typeof declaration>;
const types = z.object({ types: z.record(z.string(), z.array(z.string())).default({}) });

/** "2*I", "B+1" or "T": a factor, a symbol and an offset. */
const EXTENT = /^(?:(\d+)\*)?([A-Za-z]\w*)(?:\+(\d+))?$/;

export function isTensor(given: Given | undefined): given is FileTensor {
  return typeof given === "object" && given !== null;
}

/** Reads NAME=VALUE words; whether a value is a file or a scalar follows from the op's declaration. */
export function readArguments(op: ManifestOp, words: readonly string[]): Map<string, Given> {
  const given = new Map<string, Given>();
  for (const word of words) {
    const [, name = "", value = ""] = /^(\w+)=(.*)$/.exec(word) ?? [];
    const argument = op.args.find((candidate) => candidate.name === name);
    if (!argument) {
      const names = op.args.map((candidate) => candidate.name).join(", ");
      throw usage(`${op.op}: expected NAME=VALUE with NAME one of ${names}; got ${word}`);
    }
    given.set(
      name,
      argument.kind === "tensor"
        ? tensorValue(op.op, name, value)
        : scalarValue(op.op, name, argument.kind, value),
    );
  }
  return given;
}

function usage(message: string): OpswapError {
  return new OpswapError("OPSWAP_E_ARGUMENT", message, {
    remedy: "`opswap manifest OP` lists the arguments",
  });
}

function tensorValue(op: string, name: string, value: string): Given {
  if (value === "none") return null;
  if (isTensorFile(value)) return readTensor(value, name);
  throw usage(`${op}: ${name} is a tensor: expected FILE.npy, FILE.safetensors or none; got ${value}`);
}

function scalarValue(op: string, name: string, kind: string, value: string): Given {
  if (kind === "string") return value;
  if (kind === "bool" && /^(true|false)$/.test(value)) return value === "true";
  if (kind === "int" && /^-?\d+$/.test(value)) return BigInt(value);
  if (kind === "float" && value.trim() !== "" && !Number.isNaN(Number(value))) return Number(value);
  throw usage(`${op}: ${name} is of kind ${kind}; got ${value}`);
}

/** Tensors that the op only writes and that no file gives: dtype and shape follow from the tensors that are given. */
export function missingOutputs(
  op: ManifestOp,
  given: ReadonlyMap<string, Given>,
): Map<string, Omit<FileTensor, "bytes">> {
  const tensors = op.args.flatMap((argument) => declaration.safeParse(argument).data ?? []);
  const groups = types.parse(op).types;
  const sizes = new Map<string, number>();
  const dtypes = new Map<string, string>();
  for (const tensor of tensors) bind(tensor, given.get(tensor.name), sizes, dtypes);
  const missing = new Map<string, Omit<FileTensor, "bytes">>();
  for (const tensor of tensors) {
    if (!tensor.writes || tensor.optional || given.has(tensor.name)) continue;
    const shape = tensor.shape.map((extent) => evaluate(op.op, tensor.name, extent, sizes));
    const dtype = dtypes.get(tensor.dtype) ?? groups[tensor.dtype]?.[0] ?? tensor.dtype;
    missing.set(tensor.name, { dtype, shape });
  }
  return missing;
}

function bind(
  tensor: Declaration,
  value: Given | undefined,
  sizes: Map<string, number>,
  dtypes: Map<string, string>,
): void {
  if (!isTensor(value)) return;
  dtypes.set(tensor.dtype, value.dtype);
  for (const [i, extent] of tensor.shape.entries()) {
    const [, factor = "1", symbol, offset = "0"] = EXTENT.exec(String(extent)) ?? [];
    const size = value.shape[i];
    if (symbol !== undefined && size !== undefined)
      sizes.set(symbol, (size - Number(offset)) / Number(factor));
  }
}

function evaluate(
  op: string,
  name: string,
  extent: string | number,
  sizes: ReadonlyMap<string, number>,
): number {
  if (typeof extent === "number") return extent;
  const [, factor = "1", symbol = "", offset = "0"] = EXTENT.exec(extent) ?? [];
  const size = sizes.get(symbol);
  if (size !== undefined) return size * Number(factor) + Number(offset);
  throw usage(
    `${op}: the size of ${name} does not follow from the tensors given (${extent} is unknown); give ${name}=FILE too`,
  );
}
