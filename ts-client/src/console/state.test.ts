import { describe, expect, it } from "vitest";
import { ranks, SWITCHED, status, WHY } from "../testing/console-fixtures.js";
import type { Key, KeyCommand } from "./bindings.js";
import { commandFor, keysOf } from "./keys.js";
import { emptyLine, healthLine, hintLine, overlayLines, titleLine } from "./lines.js";
import { tableRows, visiblePart } from "./rows.js";
import { INITIAL, type Mode, opNames, reduce, rowsOf, type State, selectedRow } from "./state.js";
import { layout } from "./table.js";

const seen = reduce(INITIAL, { type: "seen", status: status(), ranks: ranks(), at: 1_000 });

/** Presses keys one after another; what a key wants from the engine is not done here. */
function press(state: State, ...keys: (string | Partial<Key>)[]): State {
  return keys.reduce((now: State, key) => {
    const command = commandFor(now, typeof key === "string" ? { input: key } : { input: "", ...key });
    return command.type === "show" ? reduce(now, command.action) : now;
  }, state);
}
function command(state: State, key: string | Partial<Key>): KeyCommand {
  return commandFor(state, typeof key === "string" ? { input: key } : { input: "", ...key });
}
const tableOf = (state: State, width = 80) => layout(rowsOf(state), opNames(state), width, state.order);
const names = (state: State) => rowsOf(state).map((row) => `${row.op}/${row.rank ?? "all"}`);

describe("table", () => {
  it("has a row per op and rank, sorted by op", () => {
    expect(names(seen)).toEqual(["linear/0", "linear/1", "rms_norm/0", "rms_norm/1"]);
  });

  it("merges ranks with r", () => {
    expect(names(press(seen, "r"))).toEqual(["linear/all", "rms_norm/all"]);
  });

  it("sorts by the next column with s and turns round with S", () => {
    const byCalls = press(seen, "s", "s", "s", "S");
    expect(byCalls.order).toEqual({ by: "calls", descending: true });
    expect(names(byCalls)[0]).toBe("rms_norm/0");
    expect(tableOf(byCalls).head).toContain("CALLSv");
  });

  it("keeps the selected row when the order changes", () => {
    const state = press(seen, "j", { downArrow: true });
    expect(selectedRow(state)).toMatchObject({ op: "rms_norm", rank: 0 });
    expect(selectedRow(press(state, "S"))).toMatchObject({ op: "rms_norm", rank: 0 });
  });

  it("stops at both ends", () => {
    expect(selectedRow(press(seen, "G", "j"))).toMatchObject({ op: "rms_norm", rank: 1 });
    expect(selectedRow(press(seen, "G", "g", "k"))).toMatchObject({ op: "linear", rank: 0 });
  });

  it("shows the part of a long list that holds the selection", () => {
    expect(visiblePart(100, 0, 10)).toEqual([0, 10]);
    expect(visiblePart(100, 50, 10)).toEqual([45, 55]);
    expect(visiblePart(100, 99, 10)).toEqual([90, 100]);
    expect(visiblePart(3, 2, 10)).toEqual([0, 3]);
  });

  it("marks the selected row and ranks that differ by signs", () => {
    const rows = tableRows(
      [...ranks("cpu").slice(0, 1), ...ranks("ref").slice(1)],
      false,
      "rms",
      INITIAL.order,
    );
    const { row } = layout(rows, ["rms_norm"], 80, INITIAL.order);
    expect(rows.map((one) => row(one, true))).toEqual([expect.stringMatching(/^> rms_norm .*!cpu\/ref/)]);
  });
});

describe("keys", () => {
  it("quits by ctrl-c whatever is shown, a switch under way included", () => {
    const ctrlC = keysOf("j\x03", {}).at(-1) ?? {};
    const modes: Mode[] = [
      { kind: "table" },
      { kind: "filter", before: "" },
      { kind: "help" },
      { kind: "impls", op: "linear", choosing: true, why: WHY, index: 0 },
      { kind: "confirm", op: "linear", impl: "ref", active: "cpu" },
      { kind: "switching", op: "linear", impl: "ref" },
    ];
    expect(modes.map((mode) => command({ ...seen, mode }, ctrlC).type)).toEqual(modes.map(() => "quit"));
  });

  it("does what the help says of each key", () => {
    const help = overlayLines({ kind: "help" }).map(({ text }) => text.split("  ")[0]);
    const does = {
      "up, down, j, k": [{ upArrow: true }, { downArrow: true }, "j", "k"],
      "page up, page down": [{ pageUp: true }, { pageDown: true }],
      "home, end, g, G": [{ home: true }, { end: true }, "g", "G"],
      "/": ["/"],
      "s, S": ["s", "S"],
      r: ["r"],
      w: ["w"],
      "u, enter": ["u", { return: true }],
      b: ["b"],
      esc: [{ escape: true }],
      "q, ctrl-c": ["q", { input: "c", ctrl: true }],
    };
    expect(help.slice(0, help.indexOf(""))).toEqual(Object.keys(does));
    const asked = Object.values(does).map((keys) => keys.map((key) => described(command(seen, key))));
    expect(asked).toEqual([
      ["move", "move", "move", "move"],
      ["move", "move"],
      ["move", "move", "move", "move"],
      ["filter"],
      ["sort", "reverse"],
      ["ranks"],
      ["why"],
      ["why to choose", "why to choose"],
      ["last"],
      ["unfilter"],
      ["quit", "quit"],
    ]);
  });
});

/** A wish in a word. */
function described(wanted: KeyCommand): string {
  if (wanted.type === "why") return wanted.choosing ? "why to choose" : "why";
  if (wanted.type !== "show") return wanted.type;
  return wanted.action.type === "mode" ? wanted.action.mode.kind : wanted.action.type;
}

describe("filter", () => {
  it("puts an op that it names whole before those whose names contain it", () => {
    const both = ranks().map((rank) => ({
      ...rank,
      ops: rank.ops.flatMap((op) => [{ ...op, op: `a_${op.op}` }, op]),
    }));
    const found = tableRows(both, false, "rms_norm", INITIAL.order);
    expect(found.map(({ op }) => op)).toEqual(["rms_norm", "a_rms_norm"]);
  });

  it("keeps rows in which every word occurs", () => {
    const state = press(seen, "/", ..."rms rank1", { return: true });
    expect(names(state)).toEqual(["rms_norm/1"]);
    expect(hintLine(state)).toContain("filter: rms rank1");
    expect(names(press(state, { escape: true }))).toHaveLength(4);
  });

  it("takes back with esc and deletes with backspace", () => {
    const state = press(seen, "/", ..."lin", { return: true }, "/", ..."xy", { backspace: true });
    expect(state.filter).toBe("linx");
    expect(press(state, { escape: true })).toMatchObject({ filter: "lin", mode: { kind: "table" } });
  });

  it("takes a pasted word key by key", () => {
    const state = keysOf("/lin\r", {}).reduce((now: State, key) => press(now, key), seen);
    expect(state).toMatchObject({ filter: "lin", mode: { kind: "table" } });
    expect(keysOf("", { upArrow: true })).toEqual([{ input: "", upArrow: true }]);
  });

  it("says that nothing matches", () => {
    expect(emptyLine(press(seen, "/", ..."zzz"))).toMatch(/nothing matches "zzz"/);
  });
});

describe("switch", () => {
  const choosing = reduce(
    reduce(seen, {
      type: "mode",
      mode: { kind: "impls", op: "linear", choosing: true, why: null, index: 0 },
    }),
    {
      type: "why",
      why: WHY,
    },
  );

  it("asks why first, then for a choice, then for a yes", () => {
    expect(command(seen, "u")).toEqual({ type: "why", op: "linear", choosing: true });
    expect(overlayLines(choosing.mode)[1]?.text).toMatch(/^> ref +usable/);
    const confirming = press(choosing, { return: true });
    expect(overlayLines(confirming.mode)[0]?.text).toBe("Switch linear from cpu to ref on every rank?");
    expect(command(confirming, { return: true }).type).toBe("nothing");
    expect(command(confirming, "y")).toEqual({ type: "switch", op: "linear", impl: "ref" });
    expect(press(confirming, "n").mode.kind).toBe("table");
  });

  it("cannot be left while it is under way", () => {
    const state: State = { ...seen, mode: { kind: "switching", op: "linear", impl: "ref" } };
    expect(command(state, { escape: true }).type).toBe("nothing");
    expect(command(state, "q").type).toBe("nothing");
  });

  it("shows each rank's acknowledgement", () => {
    const texts = overlayLines({ kind: "switched", result: SWITCHED }).map((line) => line.text);
    expect(texts[0]).toBe("linear -> ref: epoch 1, from step 11 on 2 ranks");
    expect(texts[2]).toMatch(/rank 1: step 11, epoch 1, live; linear was cpu/);
  });

  it("shows a refusal with each rank's reason", () => {
    const failure = {
      code: "OPSWAP_E_REFUSED",
      message: "refused",
      remedy: "read",
      ranks: [{ rank: 1, code: "X", reason: "no" }],
    };
    const texts = overlayLines({ kind: "failed", title: "not switched", failure }).map((line) => line.text);
    expect(texts).toEqual(["not switched", "refused [OPSWAP_E_REFUSED]", "rank 1: no", "read"]);
  });

  it("drops an answer that comes after its view was left", () => {
    expect(reduce(seen, { type: "why", why: WHY })).toEqual(seen);
  });
});

describe("health", () => {
  const failure = {
    code: "OPSWAP_E_NOT_RUNNING",
    message: "no engine is running",
    remedy: "start it",
    ranks: [],
  };

  it("tells connecting, waiting, live and stale apart", () => {
    expect(healthLine(INITIAL, 0).text).toBe("connecting ...");
    expect(healthLine(reduce(INITIAL, { type: "lost", failure }), 0).text).toBe(
      "waiting: no engine is running",
    );
    expect(healthLine(seen, 1_500).text).toBe("live");
    expect(healthLine(seen, 13_000).text).toBe("STALE, last seen 12 s ago");
    expect(healthLine(reduce(seen, { type: "lost", failure }), 13_000).text).toMatch(
      /^STALE.*12 s ago: no engine/,
    );
  });

  it("keeps the numbers of a lost engine and recovers", () => {
    const lost = reduce(seen, { type: "lost", failure });
    expect(names(lost)).toHaveLength(4);
    expect(reduce(lost, { type: "seen", status: status(), ranks: ranks(), at: 2_000 }).lost).toBeNull();
  });

  it("names the engine", () => {
    expect(titleLine(seen)).toBe("demo · vllm 0.33.0 · 2 ranks · epoch 0");
  });
});
