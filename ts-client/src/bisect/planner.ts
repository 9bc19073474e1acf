/**
 * Which ops move an output, found by halves: a search that asks for replays with sets of ops on the yardstick. It knows
 * no engine; whoever runs it answers each question.
 */

/** What a replay answered: as all ops do as they are now, as all on the yardstick do, or as neither. */
export type Outcome = "now" | "yardstick" | "other";

/** A replay that is asked for: these ops on the yardstick, the others as they are now. */
export interface Question {
  ops: readonly string[];
  /** search: it narrows down; check: ops are named already, and this confirms or refutes them. */
  why: "search" | "check";
}

export type Search<Result> = Generator<Question, Result, Outcome>;

/** A smallest set of ops that gives the yardstick's output. */
export interface Named {
  ops: string[];
  /** The output with these on the yardstick: another than `yardstick` where ops act on each other in no simple way. */
  on: Outcome;
  /** The output with each of them alone on the yardstick. */
  alone: Record<string, Outcome>;
  /** The output with all but these on the yardstick: `now` where nothing else matters. */
  without: Outcome;
}

/** More than one set where each of them alone is enough: then a fault needs an op of each. */
export type Found = [Named, ...Named[]];

/** The search over `ops`, of which all on the yardstick have been seen to move the output. */
export function* findGuilty(ops: readonly string[]): Search<Found> {
  const asked = new Answers(ops);
  const first = yield* named(asked, ops);
  const found: Found = [first];
  let rest = ops.filter((op) => !first.ops.includes(op));
  for (let last = first; last.without === "yardstick"; ) {
    last = yield* named(asked, rest);
    const { ops: also } = last;
    rest = rest.filter((op) => !also.includes(op));
    found.push(last);
  }
  return found;
}

/** Remembers what was asked, so that nothing is replayed twice. */
class Answers {
  readonly #known = new Map<string, Outcome>();
  readonly #all: readonly string[];

  constructor(all: readonly string[]) {
    this.#all = all;
    this.#known.set(this.#key([]), "now");
    this.#known.set(this.#key(all), "yardstick");
  }

  *of(ops: readonly string[], why: Question["why"]): Search<Outcome> {
    const key = this.#key(ops);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const outcome = yield { ops: this.#all.filter((op) => ops.includes(op)), why };
    this.#known.set(key, outcome);
    return outcome;
  }

  #key(ops: readonly string[]): string {
    return this.#all.map((op) => (ops.includes(op) ? "1" : "0")).join("");
  }
}

function* named(asked: Answers, pool: readonly string[]): Search<Named> {
  let ops = yield* quick(asked, pool, []);
  // The quick search infers; what it infers may be refuted where ops act together, or more than two do.
  let on = yield* asked.of(ops, "check");
  if (on !== "yardstick") {
    ops = yield* thorough(asked, pool, []);
    on = yield* asked.of(ops, "check");
  }
  const alone: Record<string, Outcome> = {};
  for (const op of ops) alone[op] = yield* asked.of([op], "check");
  const others = pool.filter((op) => !ops.includes(op));
  return { ops, on, alone, without: yield* asked.of(others, "check") };
}

/**
 * One replay for each halving: where the first half gives the yardstick's output the fault is in it, where it changes
 * nothing in the other half, and where it does both a bit, in each of them one. `on` is on the yardstick meanwhile.
 */
function* quick(asked: Answers, pool: readonly string[], on: readonly string[]): Search<string[]> {
  if (pool.length <= 1) return [...pool];
  const [a, b] = halves(pool);
  const outcome = yield* asked.of([...on, ...a], "search");
  if (outcome === "yardstick") return yield* quick(asked, a, on);
  if (outcome === "now" || on.length > 0) return yield* quick(asked, b, on);
  return yield* inBoth(quick, asked, [a, b], on);
}

/** Delta debugging: both halves are asked, and where neither is enough, each with the other one on the yardstick. */
function* thorough(asked: Answers, pool: readonly string[], on: readonly string[]): Search<string[]> {
  if (pool.length <= 1) return [...pool];
  const [a, b] = halves(pool);
  if ((yield* asked.of([...on, ...a], "search")) === "yardstick") return yield* thorough(asked, a, on);
  if ((yield* asked.of([...on, ...b], "search")) === "yardstick") return yield* thorough(asked, b, on);
  return yield* inBoth(thorough, asked, [a, b], on);
}

function* inBoth(
  search: typeof quick,
  asked: Answers,
  [a, b]: [string[], string[]],
  on: readonly string[],
): Search<string[]> {
  const inA = yield* search(asked, a, [...on, ...b]);
  const inB = yield* search(asked, b, [...on, ...inA]);
  return [...inA, ...inB];
}

function halves(pool: readonly string[]): [string[], string[]] {
  const middle = Math.ceil(pool.length / 2);
  return [pool.slice(0, middle), pool.slice(middle)];
}
