/** Reads the NAME=VALUE words of `opswap call`. */
import type { ManifestArgument, ManifestOp } from "../client/index.js";
import { didYouMean } from "../client/nearest.js";
import { namesIn, parse } from "../shapes/expression.js";
import { type FileTensor, isTensorFile, readTensor } from "../tensorfile/index.js";
import { OpswapError } from "../types/errors.js";

/** A tensor that is made for the call, of zeros. */
export const ZEROS = Symbol("zeros");

/** What the command line gives for one argument: a tensor from a file or of zeros, a scalar, or null for none. */
export type ArgumentValue = FileTensor | typeof ZEROS | number | bigint | boolean | string | null;

export interface Arguments {
  given: ReadonlyMap<string, ArgumentValue>;
  /** Sizes that are named outright, such as K=8. */
  sizes: ReadonlyMap<string, number>;
}

export function isTensor(given: ArgumentValue | undefined): given is FileTensor {
  return typeof given === "object" && given !== null;
}

/** Reads NAME=VALUE words; whether a value is a file, a scalar or a size follows from the op's declaration. */
export function readArguments(op: ManifestOp, words: readonly string[]): Arguments {
  const given = new Map<string, ArgumentValue>();
  const sizes = new Map<string, number>();
  const symbols = symbolsOf(op);
  for (const word of words) {
    const [, name = "", value = ""] = /^(\w+)=(.*)$/.exec(word) ?? [];
    const argument = op.args.find((candidate) => candidate.name === name);
    if (argument) given.set(name, argumentValue(op.op, argument, value));
    else if (symbols.includes(name)) sizes.set(name, sizeValue(op.op, name, value));
    else throw stranger(op, symbols, word);
  }
  return { given, sizes };
}

/** The names that the op's shapes use. */
function symbolsOf(op: ManifestOp): string[] {
  const shapes = op.args.flatMap((argument) => argument.shape ?? []);
  return [...new Set(shapes.flatMap((declared) => namesIn(parse(declared))))];
}

function stranger(op: ManifestOp, symbols: readonly string[], word: string): OpswapError {
  const names = op.args.map((candidate) => candidate.name);
  const expected = `NAME=VALUE with NAME one of ${names.join(", ")}, or a size of ${symbols.join(", ")}`;
  const hint = didYouMean(word.split("=", 1)[0] ?? "", [...names, ...symbols]);
  return usage(`${op.op}: expected ${expected}; got ${word}${hint}`);
}

export function usage(message: string): OpswapError {
  return new OpswapError("OPSWAP_E_ARGUMENT", message, {
    remedy: "`opswap manifest OP --local` lists the arguments",
  });
}

function argumentValue(op: string, { name, kind }: ManifestArgument, value: string): ArgumentValue {
  return kind === "tensor" ? tensorValue(op, name, value) : scalarValue(op, name, kind, value);
}

function tensorValue(op: string, name: string, value: string): ArgumentValue {
  if (value === "none") return null;
  if (value === "zeros") return ZEROS;
  if (isTensorFile(value)) return readTensor(value, name);
  throw usage(`${op}: ${name} is a tensor: expected FILE.npy, FILE.safetensors, zeros or none; got ${value}`);
}

function scalarValue(op: string, name: string, kind: string, value: string): ArgumentValue {
  if (kind === "string") return value;
  if (kind === "bool" && /^(true|false)$/.test(value)) return value === "true";
  if (kind === "int" && /^-?\d+$/.test(value)) return BigInt(value);
  if (kind === "float" && value.trim() !== "" && !Number.isNaN(Number(value))) return Number(value);
  throw usage(`${op}: ${name} is of kind ${kind}; got ${value}`);
}

function sizeValue(op: string, name: string, value: string): number {
  if (/^\d+$/.test(value) && Number.isSafeInteger(Number(value))) return Number(value);
  throw usage(`${op}: ${name} is a size: expected a whole number of 0 or more; got ${value}`);
}
