/** Reads the terminal's keys, and says which action of the console each one asks for in the present mode. */
import type { Key as InkKey } from "ink";
import { BINDINGS, type Key, type KeyCommand, show, stepOf } from "./bindings.js";
import { lastTop } from "./screen.js";
import type { Mode, State } from "./state.js";

const NOTHING: KeyCommand = { type: "nothing" };

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

/** What a key asks for where things stand. */
export function commandFor(state: State, key: Key): KeyCommand {
  const { mode } = state;
  if (key.ctrl && key.input === "c") return { type: "quit" };
  // A letter with ctrl or alt is another key than the letter; ink sets `meta` for the escape key too.
  if (key.input !== "" && (key.ctrl || key.meta)) return NOTHING;
  if (mode.kind === "filter") return filterKey(state, mode, key);
  if (mode.kind === "confirm" || mode.kind === "confirm-back") return confirmKey(mode, key);
  // A switch that is under way cannot be left: its outcome has to be seen.
  if (mode.kind === "switching") return NOTHING;
  if (mode.kind === "impls" && mode.choosing) return chooseKey(state, mode, key);
  return mode.kind === "table" ? tableKey(state, key) : textKey(state, key);
}

function toTable(): KeyCommand {
  return show({ type: "mode", mode: { kind: "table" } });
}

/** What the first binding of a key makes of it. */
function tableKey(state: State, key: Key): KeyCommand {
  for (const { command } of BINDINGS) {
    const asked = command(key, state);
    if (asked !== undefined) return asked;
  }
  return NOTHING;
}

/** Keys on a text that covers the table. */
function textKey(state: State, key: Key): KeyCommand {
  const by = stepOf(key, state);
  const last = lastTop(state, state.seen ?? 0);
  if (by !== 0) return show({ type: "scroll", top: Math.min(last, Math.max(0, state.top + by)) });
  return key.escape || key.return || key.input === "q" ? toTable() : NOTHING;
}

function filterKey(state: State, mode: Extract<Mode, { kind: "filter" }>, key: Key): KeyCommand {
  if (key.return) return toTable();
  if (key.escape) return show({ type: "unfilter", text: mode.before });
  if (key.backspace || key.delete) return show({ type: "filter", text: state.filter.slice(0, -1) });
  if (key.input === "") return NOTHING;
  return show({ type: "filter", text: state.filter + key.input });
}

function chooseKey(state: State, mode: Extract<Mode, { kind: "impls" }>, key: Key): KeyCommand {
  const by = stepOf(key, state);
  if (by !== 0) return show({ type: "pick", by });
  if (key.escape || key.input === "q") return toTable();
  const rank = mode.why?.ranks[0];
  const impl = rank?.impls[mode.index];
  if (!key.return || !rank || !impl) return NOTHING;
  return show({ type: "mode", mode: { kind: "confirm", op: mode.op, impl: impl.name, active: rank.active } });
}

function confirmKey(mode: Extract<Mode, { kind: "confirm" | "confirm-back" }>, key: Key): KeyCommand {
  if (key.input === "y")
    return mode.kind === "confirm"
      ? { type: "switch", op: mode.op, impl: mode.impl }
      : { type: "revert", back: mode.back };
  return key.input === "n" || key.input === "q" || key.escape ? toTable() : NOTHING;
}
