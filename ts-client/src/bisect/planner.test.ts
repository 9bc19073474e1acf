/** The search against played faults: every op and every pair of up to 32 ops, with the replays counted. */
import { describe, expect, it } from "vitest";
import { type Found, findGuilty, type Outcome, type Question } from "./planner.js";

const names = (n: number) => Array.from({ length: n }, (_, i) => `op${i}`);
const log2 = (n: number) => Math.ceil(Math.log2(n));
type Fault = (on: ReadonlySet<string>) => Outcome;

/** Each guilty op moves the output by itself. */
const each =
  (guilty: readonly string[]): Fault =>
  (on) => {
    const mended = guilty.filter((op) => on.has(op)).length;
    return mended === 0 ? "now" : mended === guilty.length ? "yardstick" : "other";
  };

/** Nothing is seen until all of them are on the yardstick. */
const together =
  (guilty: readonly string[]): Fault =>
  (on) =>
    guilty.every((op) => on.has(op)) ? "yardstick" : "now";

/** The fault needs all of them, so that any one on the yardstick mends it. */
const anyOf =
  (guilty: readonly string[]): Fault =>
  (on) =>
    guilty.some((op) => on.has(op)) ? "yardstick" : "now";

/** Runs a search; the replay of all ops on the yardstick, which comes before it, counts as well. */
function searched(ops: readonly string[], fault: Fault): { found: Found; search: number; all: number } {
  const search = findGuilty(ops);
  const asked: Question[] = [];
  let step = search.next();
  while (!step.done) {
    asked.push(step.value);
    step = search.next(fault(new Set(step.value.ops)));
  }
  const keys = asked.map((question) => question.ops.join());
  expect(new Set(keys).size, "no replay twice").toBe(keys.length);
  const all = 1 + asked.length;
  return { found: step.value, search: 1 + asked.filter(({ why }) => why === "search").length, all };
}

function pairs(n: number): [string, string][] {
  const ops = names(n);
  return ops.flatMap((a, i) => ops.slice(i + 1).map((b): [string, string] => [a, b]));
}

const sizes = names(32).map((_, i) => i + 1);

describe("the search for guilty ops", () => {
  it.each(sizes)("names one of %i within log2 n + 1 replays", (n) => {
    for (const op of names(n)) {
      const { found, search, all } = searched(names(n), each([op]));
      expect(found).toEqual([{ ops: [op], on: "yardstick", alone: { [op]: "yardstick" }, without: "now" }]);
      expect(search).toBeLessThanOrEqual(log2(n) + 1);
      expect(all).toBeLessThanOrEqual(log2(n) + 3);
    }
  });

  it.each(sizes)("names every pair of %i within 2 log2 n + 2 replays", (n) => {
    for (const pair of pairs(n)) {
      const { found, search, all } = searched(names(n), each(pair));
      const alone = Object.fromEntries(pair.map((op) => [op, "other"]));
      expect(found).toEqual([{ ops: pair, on: "yardstick", alone, without: "now" }]);
      expect(search).toBeLessThanOrEqual(2 * log2(n) + 2);
      expect(all).toBeLessThanOrEqual(2 * log2(n) + 4);
    }
  });

  it.each([2, 3, 7, 12, 32])("tells of %i ops two that act only together", (n) => {
    for (const pair of pairs(n)) {
      const { found } = searched(names(n), together(pair));
      const alone = Object.fromEntries(pair.map((op) => [op, "now"]));
      expect(found).toEqual([{ ops: pair, on: "yardstick", alone, without: "now" }]);
    }
  });

  it.each([2, 3, 7, 12, 32])("tells of %i ops two of which one is enough", (n) => {
    for (const pair of pairs(n)) {
      const { found } = searched(names(n), anyOf(pair));
      expect(found.map(({ ops }) => ops).sort()).toEqual(pair.map((op) => [op]).sort());
      expect(found.map(({ without }) => without)).toEqual(["yardstick", "now"]);
    }
  });

  it("says that what it named does not mend the output, where no simple rule holds", () => {
    // Mended by all four, or by three of which one is op0.
    const odd: Fault = (on) => (on.size === 4 || (on.size === 3 && on.has("op0")) ? "yardstick" : "other");
    const { found } = searched(names(4), odd);
    expect(odd(new Set(found[0].ops))).toBe(found[0].on);
  });

  it.each([3, 5, 9])("names any set of up to %i ops", (n) => {
    for (let bits = 1; bits < 2 ** n; ++bits) {
      const guilty = names(n).filter((_, i) => (bits >> i) & 1);
      const { found } = searched(names(n), each(guilty));
      expect(found.map(({ ops }) => ops.toSorted())).toEqual([guilty]);
    }
  });
});
