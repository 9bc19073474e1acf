/** Evaluates the expressions of op.json, and solves one for a size. */
import { type Expression, namesIn, type Sign } from "./expression.js";

/** Integers are bigint and floats are number, so that division does what C++ does. */
export type Value = bigint | number;
export type Known = ReadonlyMap<string, Value>;

/** The value of an expression; undefined while it depends on a name that is not known. Truth is 1n or 0n. */
export function evaluate(expression: Expression, known: Known): Value | undefined {
  if (expression.kind === "constant") return expression.value;
  if (expression.kind === "name") return known.get(expression.name);
  if (expression.kind === "unary") {
    const value = evaluate(expression.of, known);
    if (value === undefined) return undefined;
    return expression.sign === "-" ? -value : truth(!value);
  }
  const left = evaluate(expression.left, known);
  const right = evaluate(expression.right, known);
  const { sign } = expression;
  if (sign === "&&" || sign === "||") return joined(sign === "||", left, right);
  return left === undefined || right === undefined ? undefined : applied(sign, left, right);
}

/** One side may decide alone. */
function joined(decides: boolean, left: Value | undefined, right: Value | undefined): Value | undefined {
  const sides = [left, right].map((side) => (side === undefined ? undefined : Boolean(side)));
  if (sides.includes(decides)) return truth(decides);
  return sides.includes(undefined) ? undefined : truth(!decides);
}

function applied(sign: Exclude<Sign, "&&" | "||">, left: Value, right: Value): Value | undefined {
  if (sign === "==") return truth(compare(left, right) === 0);
  if (sign === "!=") return truth(compare(left, right) !== 0);
  if (sign === "<") return truth(left < right);
  if (sign === ">") return truth(left > right);
  if (sign === "<=") return truth(left <= right);
  if (sign === ">=") return truth(left >= right);
  if (typeof left === "bigint" && typeof right === "bigint") return integers(sign, left, right);
  return floats(sign, Number(left), Number(right));
}

function compare(left: Value, right: Value): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

function truth(holds: boolean): bigint {
  return holds ? 1n : 0n;
}

type Arithmetic = "+" | "-" | "*" | "/" | "%";

/** Division truncates, and by zero it has no value. */
function integers(sign: Arithmetic, left: bigint, right: bigint): bigint | undefined {
  if (sign === "+") return left + right;
  if (sign === "-") return left - right;
  if (sign === "*") return left * right;
  if (right === 0n) return undefined;
  return sign === "/" ? left / right : left % right;
}

function floats(sign: Arithmetic, left: number, right: number): number {
  if (sign === "+") return left + right;
  if (sign === "-") return left - right;
  if (sign === "*") return left * right;
  return sign === "/" ? left / right : left % right;
}

/** `slope * name + offset`. */
interface Line {
  slope: bigint;
  offset: bigint;
}

/** The one value of `name` with which an expression has the value `target`; undefined when several or none do. */
export function solveFor(
  name: string,
  expression: Expression,
  target: Value,
  known: Known,
): bigint | undefined {
  const line = lineOf(name, expression, known);
  if (!line || line.slope === 0n || typeof target !== "bigint") return undefined;
  const distance = target - line.offset;
  const found = distance / line.slope;
  return distance % line.slope === 0n && found >= 0n ? found : undefined;
}

function lineOf(name: string, expression: Expression, known: Known): Line | undefined {
  if (!namesIn(expression).includes(name)) {
    const offset = evaluate(expression, known);
    return typeof offset === "bigint" ? { slope: 0n, offset } : undefined;
  }
  if (expression.kind === "name") return { slope: 1n, offset: 0n };
  if (expression.kind === "unary" && expression.sign === "-") {
    const of = lineOf(name, expression.of, known);
    return of && { slope: -of.slope, offset: -of.offset };
  }
  if (expression.kind !== "binary") return undefined;
  const left = lineOf(name, expression.left, known);
  const right = lineOf(name, expression.right, known);
  return left && right && combined(expression.sign, left, right);
}

function combined(sign: Sign, left: Line, right: Line): Line | undefined {
  if (sign === "+") return { slope: left.slope + right.slope, offset: left.offset + right.offset };
  if (sign === "-") return { slope: left.slope - right.slope, offset: left.offset - right.offset };
  if (sign !== "*" || (left.slope !== 0n && right.slope !== 0n)) return undefined;
  const [factor, line] = left.slope === 0n ? [left.offset, right] : [right.offset, left];
  return { slope: factor * line.slope, offset: factor * line.offset };
}
