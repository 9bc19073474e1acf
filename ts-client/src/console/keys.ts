import type { Key as InkKey } from "ink";
import { lastTop } from "./screen.js";
import { type Action, type Mode, type State, selectedRow } from "./state.js";

/** A key as ink reports it, in ink's own names: another name would not compile. */
export type Key = { input: string } & Partial<InkKey>;

/** What a key asks for: a change of what is shown, or something that the engine is asked. */
export type Wish =
  | { type: "show"; action: Action }
  | { type: "why"; op: string; choosing: boolean }
  | { type: "switch"; op: string; impl: string }
  | { type: "quit" }
  | { type: "nothing" };

const NOTHING: Wish = { type: "nothing" };
/** Title, health, head of the table, hint, and the line that stays empty. */
const FRAME_LINES = 5;

/** Fast typing and pasting come as one piece of input: it is taken key by key. */
export function keysOf(input: string, key: Partial<InkKey>): Key[] {
  if (UNKNOWN_SEQUENCE.test(input)) return [];
  const characters = [...input];
  return characters.length < 2 && !isControl(input) ? [{ ...key, input }] : characters.map(keyOf);
}

/** The rest of an escape sequence that ink has no name for: no one typed it. */
const UNKNOWN_SEQUENCE = /^\[[\d;:?<=>]*[A-Za-z~^$]$/;

function isControl(character: string): boolean {
  return character !== "" && (character < " " || character === "\x7f");
}

/** A character that came among others, as ink reports it when it comes alone. */
function keyOf(character: string): Key {
  if (character === "\r" || character === "\n") return { input: "", return: true };
  if (character === "\x7f" || character === "\b") return { input: "", backspace: true };
  if (character === "\t") return { input: "", tab: true };
  if (!isControl(character)) return { input: character };
  return { input: String.fromCharCode(character.charCodeAt(0) + 0x60), ctrl: true };
}

export function wishOf(state: State, key: Key): Wish {
  const { mode } = state;
  if (key.ctrl && key.input === "c") return { type: "quit" };
  // A letter with ctrl or alt is another key than the letter; ink sets `meta` for the escape key too.
  if (key.input !== "" && (key.ctrl || key.meta)) return NOTHING;
  if (mode.kind === "filter") return filterKey(state, mode, key);
  if (mode.kind === "confirm") return confirmKey(mode, key);
  // A switch that is under way cannot be left: its outcome has to be seen.
  if (mode.kind === "switching") return NOTHING;
  if (mode.kind === "impls" && mode.choosing) return chooseKey(state, mode, key);
  return mode.kind === "table" ? tableKey(state, key) : textKey(state, key);
}

function show(action: Action): Wish {
  return { type: "show", action };
}

function toTable(): Wish {
  return show({ type: "mode", mode: { kind: "table" } });
}

/** How far a movement key goes; 0 for any other key. */
function step({ size }: State, key: Key): number {
  const page = Math.max(1, size.height - FRAME_LINES);
  if (key.upArrow || key.input === "k") return -1;
  if (key.downArrow || key.input === "j") return 1;
  if (key.pageUp) return -page;
  if (key.pageDown) return page;
  if (key.home || key.input === "g") return Number.NEGATIVE_INFINITY;
  return key.end || key.input === "G" ? Number.POSITIVE_INFINITY : 0;
}

/** Keys on a text that covers the table. */
function textKey(state: State, key: Key): Wish {
  const by = step(state, key);
  const last = lastTop(state, state.seen ?? 0);
  if (by !== 0) return show({ type: "scroll", top: Math.min(last, Math.max(0, state.top + by)) });
  return key.escape || key.return || key.input === "q" ? toTable() : NOTHING;
}

const TABLE_KEYS: Record<string, Action> = {
  s: { type: "sort" },
  S: { type: "reverse" },
  r: { type: "ranks" },
  "?": { type: "mode", mode: { kind: "help" } },
};

function tableKey(state: State, key: Key): Wish {
  const by = step(state, key);
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
  if (key.input === "") return NOTHING;
  return show({ type: "filter", text: state.filter + key.input });
}

function chooseKey(state: State, mode: Extract<Mode, { kind: "impls" }>, key: Key): Wish {
  const by = step(state, key);
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
