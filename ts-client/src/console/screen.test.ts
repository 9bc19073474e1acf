import { describe, expect, it } from "vitest";
import { opFacts } from "../generated/ops.js";
import { ranks, status, WHY } from "../testing/console-fixtures.js";
import { commandFor } from "./keys.js";
import { lastTop, screenLines } from "./screen.js";
import { INITIAL, type Mode, reduce, type State } from "./state.js";

const REASON =
  "its build needs driver 570.26 or later and this machine has 535.104.05; update the driver, or choose cpu";
const OPS = Object.keys(opFacts);

/** A console that has looked at every op there is, on a terminal of this size. */
function screenOf(width: number, height: number, mode: Mode = { kind: "table" }): State {
  const [rank] = ranks();
  const one = rank?.ops[0];
  const all = rank && one ? [{ ...rank, ops: OPS.map((op) => ({ ...one, op })) }] : [];
  const seen = reduce(INITIAL, { type: "seen", status: status(), ranks: all, at: 0 });
  return reduce(reduce(seen, { type: "size", size: { width, height } }), { type: "mode", mode });
}

function impls(choosing: boolean): Mode {
  const why = {
    ...WHY,
    ranks: WHY.ranks.slice(0, 1).map((rank) => ({
      ...rank,
      impls: rank.impls.map((impl) => (impl.usable ? impl : { ...impl, reason: REASON })),
    })),
  };
  return { kind: "impls", op: "linear", choosing, why, index: 0 };
}

const FAILURE = { code: "OPSWAP_E_REFUSED", message: REASON, remedy: REASON, ranks: [] };
const MODES: Mode[] = [
  { kind: "table" },
  { kind: "filter", before: "" },
  { kind: "help" },
  impls(false),
  impls(true),
  { kind: "confirm", op: "linear", impl: "ref", active: "cpu" },
  { kind: "switching", op: "linear", impl: "ref" },
  { kind: "failed", title: "linear was not switched", failure: FAILURE },
];
const texts = (state: State) => screenLines(state, 0).map(({ text }) => text);
const words = (lines: readonly string[]) => lines.join(" ").split(/\s+/).join(" ");

/** Every line of a text that covers the table, read by scrolling down. */
function read(state: State): string[] {
  const last = lastTop(state, 0);
  return Array.from({ length: last + 1 }, (_, top) => texts({ ...state, top })).flat();
}

describe.each([40, 60, 80, 120])("a screen of %d columns", (width) => {
  it.each([1, 2, 3, 4, 6, 10, 24])("has no wider and no more lines than %d", (height) => {
    for (const mode of MODES) {
      const lines = texts(screenOf(width, height, mode));
      expect(lines.length, mode.kind).toBe(Math.max(1, height - 1));
      expect(Math.max(...lines.map((line) => line.length)), mode.kind).toBeLessThanOrEqual(width);
    }
  });

  it("shows every op under a name of its own", () => {
    const rows = texts(screenOf(width, OPS.length + 10)).filter((line) => /^[> ] \S+ +0 +cpu/.test(line));
    expect(new Set(rows.map((row) => row.slice(2).split(" ")[0])).size).toBe(OPS.length);
  });

  it("shows a long reason in full", () => {
    expect(words(texts(screenOf(width, 24, impls(false))))).toContain(REASON);
    expect(words(texts(screenOf(width, 24, impls(true))))).toContain(REASON);
    const failed: Mode = { kind: "failed", title: "no", failure: FAILURE };
    expect(words(texts(screenOf(width, 24, failed)))).toContain(`${REASON} [OPSWAP_E_REFUSED] ${REASON}`);
  });

  it("shows in full why a look failed", () => {
    const lost = reduce(screenOf(width, 24), { type: "lost", failure: FAILURE });
    expect(words(texts(lost))).toContain(`STALE, last seen 0 s ago: ${REASON}`);
  });
});

describe("a low screen", () => {
  it("is scrolled to the end of the help and no further", () => {
    let state = screenOf(80, 8, { kind: "help" });
    const down = { input: "", pageDown: true };
    for (let i = 0; i < 20; i++) {
      const command = commandFor(state, down);
      if (command.type === "show") state = reduce(state, command.action);
    }
    expect(state.top).toBe(lastTop(state, 0));
    expect(words(texts(state))).toContain("leaves out EPOCH, P50, P99, MEAN and CALLS, in this order.");
    expect(words(texts(screenOf(80, 8, { kind: "help" })))).toMatch(/\.\.\. \d+ more lines/);
  });

  it("lets every line be read", () => {
    const whole = texts(screenOf(60, 60, { kind: "help" })).filter((line) => line.trim() !== "");
    const shown = read(screenOf(60, 7, { kind: "help" }));
    expect(whole.length).toBeGreaterThan(10);
    expect(shown).toEqual(expect.arrayContaining(whole.slice(2)));
  });

  it("keeps the implementation that is chosen in sight", () => {
    for (const index of [0, 1, 2]) {
      const state = screenOf(40, 6, { ...impls(true), index } as Mode);
      expect(texts(state).some((line) => line.startsWith(">"))).toBe(true);
    }
  });

  it("keeps the selected row in sight", () => {
    const state = reduce(screenOf(80, 5), { type: "move", by: Number.POSITIVE_INFINITY });
    expect(texts(state).filter((line) => line.startsWith("> "))).toHaveLength(1);
  });
});

it("keeps the column that a narrow table is sorted by", () => {
  const byEpoch: State = { ...screenOf(40, 24), order: { by: "epoch", descending: true } };
  expect(texts(screenOf(40, 24)).join("\n")).not.toContain("EPOCH");
  expect(texts(byEpoch).join("\n")).toContain("EPOCHv");
});
