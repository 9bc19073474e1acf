/** Parses the expressions of op.json that say sizes and conditions. */
import { OpswapError } from "../types/errors.js";

const SIGNS = ["||", "&&", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%"] as const;
export type Sign = (typeof SIGNS)[number];

/** An expression of op.json over sizes and scalars: a shape, a condition, a bound of values. */
export type Expression =
  | { kind: "constant"; value: bigint | number }
  | { kind: "name"; name: string }
  | { kind: "unary"; sign: "!" | "-"; of: Expression }
  | { kind: "binary"; sign: Sign; left: Expression; right: Expression };

/** What binds tighter comes later, as in C++. */
const LEVELS: readonly (readonly Sign[])[] = [
  ["||"],
  ["&&"],
  ["==", "!="],
  ["<=", ">=", "<", ">"],
  ["+", "-"],
  ["*", "/", "%"],
];
const WORDS: Readonly<Record<string, string>> = { and: "&&", or: "||" };
const TOKEN = /\s*([A-Za-z_]\w*|\d+(?:\.\d+)?|\|\||&&|[=!<>]=|[-+*/%<>!()])/y;

export function parse(text: string): Expression {
  const reader = new Reader(text);
  const expression = reader.level(0);
  reader.end();
  return expression;
}

/** Every name that an expression uses, once. */
export function namesIn(expression: Expression): string[] {
  if (expression.kind === "constant") return [];
  if (expression.kind === "name") return [expression.name];
  if (expression.kind === "unary") return namesIn(expression.of);
  return [...new Set([...namesIn(expression.left), ...namesIn(expression.right)])];
}

class Reader {
  readonly #text: string;
  readonly #tokens: string[];
  #at = 0;

  constructor(text: string) {
    this.#text = text;
    this.#tokens = tokensOf(text);
  }

  level(depth: number): Expression {
    const signs = LEVELS[depth];
    if (!signs) return this.#unary();
    let left = this.level(depth + 1);
    for (let sign = this.#sign(signs); sign !== undefined; sign = this.#sign(signs))
      left = { kind: "binary", sign, left, right: this.level(depth + 1) };
    return left;
  }

  end(): void {
    if (this.#at < this.#tokens.length) throw malformed(this.#text, this.#tokens[this.#at]);
  }

  #sign(signs: readonly Sign[]): Sign | undefined {
    const sign = signs.find((one) => one === this.#tokens[this.#at]);
    if (sign !== undefined) this.#at += 1;
    return sign;
  }

  #unary(): Expression {
    const token = this.#tokens[this.#at++];
    if (token === "!" || token === "-") return { kind: "unary", sign: token, of: this.#unary() };
    if (token === "(") {
      const inner = this.level(0);
      if (this.#tokens[this.#at++] !== ")") throw malformed(this.#text, "no closing bracket");
      return inner;
    }
    if (token === undefined || !/^\w/.test(token)) throw malformed(this.#text, token);
    if (/^\d/.test(token))
      return { kind: "constant", value: token.includes(".") ? Number(token) : BigInt(token) };
    return { kind: "name", name: token };
  }
}

function tokensOf(text: string): string[] {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.trimEnd().length) {
    const from = TOKEN.lastIndex;
    const token = TOKEN.exec(text)?.[1];
    if (token === undefined) throw malformed(text, text.slice(from));
    tokens.push(WORDS[token] ?? token);
  }
  return tokens;
}

function malformed(text: string, at: string | undefined): OpswapError {
  const message = `manifest: expected an expression over sizes and scalars; got ${text}, at ${at ?? "its end"}`;
  return new OpswapError("OPSWAP_E_MANIFEST", message);
}
