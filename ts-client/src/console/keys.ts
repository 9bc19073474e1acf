import { type Action, type Mode, type State, selectedRow } from "./state.js";

/** A key as the terminal reports it. */
export interface Key {
  input: string;
  up?: boolean;
  down?: boolean;
  pageUp?: boolean;
  pageDown?: boolean;
  return?: boolean;
  escape?: boolean;
  backspace?: boolean;
  delete?: boolean;
  ctrl?: boolean;
}

/** What a key asks for: a change of what is shown, or something that the engine is asked. */
export type Wish =
  | { type: "show"; action: Action }
  | { type: "why"; op: string; choosing: boolean }
  | { type: "switch"; op: string; impl: string }
  | { type: "quit" }
  | { type: "nothing" };

const NOTHING: Wish = { type: "nothing" };
const PAGE = 10;

/** Fast typing and pasting come as one piece of input: it is taken key by key. */
export function keysOf(input: string, key: Omit<Key, "input">): Key[] {
  const characters = [...input];
  if (characters.length < 2) return [{ ...key, input }];
  return characters.map((character) => ({
    input: character === "\r" ? "" : character,
    return: character === "\r",
    backspace: character === "\x7f",
  }));
}

export function wishOf(state: State, key: Key): Wish {
  const { mode } = state;
  if (mode.kind === "filter") return filterKey(state, mode, key);
  if (mode.kind === "confirm") return confirmKey(mode, key);
  // A switch that is under way cannot be left: its outcome has to be seen.
  if (mode.kind === "switching") return NOTHING;
  if (mode.kind === "impls" && mode.choosing) return chooseKey(mode, key);
  if (mode.kind !== "table") return key.escape || key.return || key.input === "q" ? toTable() : NOTHING;
  return tableKey(state, key);
}

function show(action: Action): Wish {
  return { type: "show", action };
}

function toTable(): Wish {
  return show({ type: "mode", mode: { kind: "table" } });
}

/** How far a movement key goes; 0 for any other key. */
function step(key: Key): number {
  if (key.up || key.input === "k") return -1;
  if (key.down || key.input === "j") return 1;
  if (key.pageUp) return -PAGE;
  if (key.pageDown) return PAGE;
  return { g: Number.NEGATIVE_INFINITY, G: Number.POSITIVE_INFINITY }[key.input] ?? 0;
}

const TABLE_KEYS: Record<string, Action> = {
  s: { type: "sort" },
  S: { type: "reverse" },
  r: { type: "ranks" },
  "?": { type: "mode", mode: { kind: "help" } },
};

function tableKey(state: State, key: Key): Wish {
  const by = step(key);
  if (by !== 0) return show({ type: "move", by });
  if (key.input === "q") return { type: "quit" };
  if (key.escape) return show({ type: "unfilter", text: "" });
  if (key.input === "/") return show({ type: "mode", mode: { kind: "filter", before: state.filter } });
  const op = selectedRow(state)?.op;
  if (op !== undefined && key.input === "w") return { type: "why", op, choosing: false };
  if (op !== undefined && (key.input === "u" || key.return)) return { type: "why", op, choosing: true };
  const action = TABLE_KEYS[key.input];
  return action ? show(action) : NOTHING;
}

function filterKey(state: State, mode: Extract<Mode, { kind: "filter" }>, key: Key): Wish {
  if (key.return) return toTable();
  if (key.escape) return show({ type: "unfilter", text: mode.before });
  if (key.backspace || key.delete) return show({ type: "filter", text: state.filter.slice(0, -1) });
  if (key.ctrl || key.input === "") return NOTHING;
  return show({ type: "filter", text: state.filter + key.input });
}

function chooseKey(mode: Extract<Mode, { kind: "impls" }>, key: Key): Wish {
  const by = step(key);
  if (by !== 0) return show({ type: "pick", by });
  if (key.escape || key.input === "q") return toTable();
  const rank = mode.why?.ranks[0];
  const impl = rank?.impls[mode.index];
  if (!key.return || !rank || !impl) return NOTHING;
  return show({ type: "mode", mode: { kind: "confirm", op: mode.op, impl: impl.name, active: rank.active } });
}

function confirmKey(mode: Extract<Mode, { kind: "confirm" }>, key: Key): Wish {
  if (key.input === "y") return { type: "switch", op: mode.op, impl: mode.impl };
  return key.input === "n" || key.input === "q" || key.escape ? toTable() : NOTHING;
}
