/** Works out the sizes of an op's tensors that a call does not give. */
import type { ManifestArgument, ManifestOp } from "../client/index.js";
import { evaluate, solveFor, type Value } from "./evaluate.js";
import { type Expression, namesIn, parse } from "./expression.js";

/** What a call gives: shapes of tensors, null for one left out; scalars; sizes that are named outright. */
export interface Facts {
  tensors: ReadonlyMap<string, readonly number[] | null>;
  /** Written tensors that are to be made although they are optional. */
  made?: ReadonlySet<string>;
  scalars: ReadonlyMap<string, Value>;
  sizes: ReadonlyMap<string, number>;
}

const SYMBOL = /^[A-Z][A-Z0-9]*$/;

/** Values of scalars and sizes by name, as far as they follow from what is given and from what the op requires. */
export function sizesOf(op: ManifestOp, facts: Facts): Map<string, Value> {
  const known = new Map<string, Value>([...defaults(op), ...facts.scalars]);
  for (const [name, size] of facts.sizes) known.set(name, BigInt(size));
  const stated = statements(op, facts);
  const rules = (op.require ?? []).map(parse);
  for (const [expression, size] of stated.filter(([expression]) => expression.kind === "name"))
    equate(expression, size, known);
  for (const name of absent(op, facts)) if (!known.has(name)) known.set(name, 0n);
  for (let before = -1; before !== known.size; ) {
    before = known.size;
    for (const [expression, size] of stated) equate(expression, size, known);
    for (const claim of rules.flatMap((rule) => claims(rule, known))) equal(claim, known);
    // Only when nothing says how many there are: as few as are allowed.
    if (before === known.size)
      for (const claim of rules.flatMap((rule) => claims(rule, known))) least(claim, known);
  }
  return known;
}

function defaults(op: ManifestOp): [string, Value][] {
  return op.args.flatMap(({ name, kind, default: value }): [string, Value][] => {
    if (kind === "tensor" || typeof value === "string" || value === undefined || value === null) return [];
    return [[name, scalarOf(kind, value)]];
  });
}

/** A scalar as expressions see it: a bool is 1 or 0, only a float divides as one. */
export function scalarOf(kind: string, value: number | bigint | boolean): Value {
  return kind === "float" ? Number(value) : BigInt(value);
}

/** Each given extent with the expression that declares it. */
function statements(op: ManifestOp, { tensors }: Facts): [Expression, bigint][] {
  return op.args.flatMap(({ name, shape }) =>
    (tensors.get(name) ?? []).flatMap((size, i): [Expression, bigint][] => {
      const declared = shape?.[i];
      return declared === undefined ? [] : [[parse(declared), BigInt(size)]];
    }),
  );
}

/** Sizes that only optional tensors have which are left out: the library counts them as 0. */
function absent(op: ManifestOp, facts: Facts): string[] {
  const left = (argument: ManifestArgument) =>
    argument.optional === true && !facts.tensors.get(argument.name) && !facts.made?.has(argument.name);
  const alone = (of: readonly ManifestArgument[]) =>
    new Set(of.flatMap(({ shape }) => (shape ?? []).filter((declared) => SYMBOL.test(declared))));
  const present = alone(op.args.filter((argument) => !left(argument)));
  return [...alone(op.args.filter(left))].filter((name) => !present.has(name));
}

/** Learns the one size that is missing in `expression == size`. */
function equate(expression: Expression, size: Value | undefined, known: Map<string, Value>): void {
  const name = missing(expression, known);
  if (name === undefined || size === undefined) return;
  const found = solveFor(name, expression, size, known);
  if (found !== undefined) known.set(name, found);
}

function missing(expression: Expression, known: ReadonlyMap<string, Value>): string | undefined {
  const names = namesIn(expression).filter((name) => !known.has(name));
  return names.length === 1 && SYMBOL.test(names[0] ?? "") ? names[0] : undefined;
}

type Comparison = Extract<Expression, { kind: "binary" }>;

/** The comparisons that have to hold, since the condition does: of an `or` the side that is left. */
function claims(rule: Expression, known: ReadonlyMap<string, Value>): Comparison[] {
  if (rule.kind !== "binary") return [];
  const { sign, left, right } = rule;
  if (sign === "&&") return [...claims(left, known), ...claims(right, known)];
  if (sign !== "||") return [rule];
  return [
    ...(isFalse(left, known) ? claims(right, known) : []),
    ...(isFalse(right, known) ? claims(left, known) : []),
  ];
}

function isFalse(expression: Expression, known: ReadonlyMap<string, Value>): boolean {
  const value = evaluate(expression, known);
  return value !== undefined && !value;
}

function equal({ sign, left, right }: Comparison, known: Map<string, Value>): void {
  if (sign !== "==") return;
  equate(left, evaluate(right, known), known);
  equate(right, evaluate(left, known), known);
}

/** `R >= T * K` */
function least({ sign, left, right }: Comparison, known: Map<string, Value>): void {
  if (sign === ">=" && left.kind === "name") equate(left, evaluate(right, known), known);
}
