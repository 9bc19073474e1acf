/** Which tensors `opswap call` makes itself, with dtype and shape. */
import { type ManifestArgument, type ManifestOp, missingArgument } from "../client/index.js";
import { evaluate, type Value } from "../shapes/evaluate.js";
import { namesIn, parse } from "../shapes/expression.js";
import { scalarOf, sizesOf } from "../shapes/sizes.js";
import type { FileTensor } from "../tensorfile/index.js";
import { OpswapError } from "../types/errors.js";
import { type Arguments, isTensor, usage, ZEROS } from "./call-arguments.js";

/** The tensors that are made for a call, because it only writes them or asks for zeros: dtype and shape of each. */
export function tensorsToMake(op: ManifestOp, words: Arguments): Map<string, Omit<FileTensor, "bytes">> {
  const known = knownOf(op, words);
  const made = op.args.filter((argument) => argument.kind === "tensor" && isMade(op, argument, words, known));
  const types = typesOf(op, words);
  return new Map(
    made.map(({ name, dtype = "", shape = [] }) => [
      name,
      { dtype: types.get(dtype) ?? dtype, shape: extents(op, name, shape, known) },
    ]),
  );
}

function knownOf(op: ManifestOp, { given, sizes }: Arguments): Map<string, Value> {
  const tensors = new Map<string, readonly number[] | null>();
  const made = new Set<string>();
  const scalars = new Map<string, Value>();
  for (const { name, kind } of op.args) {
    const value = given.get(name);
    if (value === ZEROS) made.add(name);
    else if (value === null) tensors.set(name, null);
    else if (isTensor(value)) tensors.set(name, value.shape);
    else if (value !== undefined && typeof value !== "string") scalars.set(name, scalarOf(kind, value));
  }
  return sizesOf(op, { tensors, made, scalars, sizes });
}

function isMade(
  op: ManifestOp,
  argument: ManifestArgument,
  { given }: Arguments,
  known: ReadonlyMap<string, Value>,
): boolean {
  const value = given.get(argument.name);
  if (value !== undefined) return value === ZEROS;
  if (argument.optional) return false;
  if (!argument.writes) throw missingArgument(op.op, argument);
  if (!isRead(argument, known)) return true;
  const { name } = argument;
  throw usage(
    `${op.op}: ${name} is written in place, its old values count; give ${name}=FILE or ${name}=zeros`,
  );
}

/** Whether a written tensor's old values are used, which may depend on the scalars. */
function isRead({ reads }: ManifestArgument, known: ReadonlyMap<string, Value>): boolean {
  return typeof reads === "string" ? evaluate(parse(reads), known) !== 0n : reads === true;
}

/** The dtype of each type variable: that of a tensor that is given, or else the first that the op takes. */
function typesOf(op: ManifestOp, { given }: Arguments): Map<string, string> {
  const types = new Map(Object.entries(op.types ?? {}).map(([name, dtypes]) => [name, dtypes[0] ?? ""]));
  for (const { name, dtype } of op.args) {
    const value = given.get(name);
    if (dtype !== undefined && isTensor(value)) types.set(dtype, value.dtype);
  }
  return types;
}

function extents(
  op: ManifestOp,
  name: string,
  shape: readonly string[],
  known: ReadonlyMap<string, Value>,
): number[] {
  return shape.map((declared) => {
    const expression = parse(declared);
    const size = evaluate(expression, known);
    if (size !== undefined) return checked(op, name, declared, Number(size));
    const unknown = namesIn(expression).filter((symbol) => !known.has(symbol));
    throw new OpswapError(
      "OPSWAP_E_ARGUMENT",
      `${op.op}: the size of ${name} [${shape.join(", ")}] does not follow from what is given: ${unknown.join(", ")} unknown`,
      { remedy: `give ${unknown.map((symbol) => `${symbol}=SIZE`).join(" ")}, or ${name}=FILE` },
    );
  });
}

function checked(op: ManifestOp, name: string, declared: string, size: number): number {
  if (size >= 0 && Number.isSafeInteger(size)) return size;
  throw usage(`${op.op}: ${name} needs ${declared} elements in one dimension, which is ${size} here`);
}
