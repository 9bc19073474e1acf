/** The table of the console's keys, from which the program, the help and the bottom line are made. */
import type { Key as InkKey } from "ink";
import type { Back } from "../experiments/audit/revert.js";
import { type Action, type State, selectedRow } from "./state.js";

/** A key as ink reports it, in ink's own names: another name would not compile. */
export type Key = { input: string } & Partial<InkKey>;

/** What a key asks for: a change of what is shown, or something that the engine is asked. */
export type KeyCommand =
  | { type: "show"; action: Action }
  | { type: "why"; op: string; choosing: boolean }
  | { type: "switch"; op: string; impl: string }
  /** Which switch would be taken back. */
  | { type: "last" }
  | { type: "revert"; back: Back }
  | { type: "quit" }
  | { type: "nothing" };

/** Keys of the table: what they do, for the program, for the help and for the bottom line. */
export interface Binding {
  /** As the help names them; null where the help does not, since it is what they open. */
  keys: string | null;
  does: string;
  /** What the bottom line says of them. */
  hint?: string;
  /** Undefined for any other key, and where there is nothing that it could act on. */
  command(key: Key, state: State): KeyCommand | undefined;
}

export const show = (action: Action): KeyCommand => ({ type: "show", action });

/** A key of one letter that changes what is shown. */
const onInput =
  (actions: Readonly<Record<string, Action>>): Binding["command"] =>
  ({ input }) => {
    const action = Object.hasOwn(actions, input) ? actions[input] : undefined;
    return action && show(action);
  };

const moving =
  (steps: (key: Key, state: State) => number): Binding["command"] =>
  (key, state) => {
    const by = steps(key, state);
    return by === 0 ? undefined : show({ type: "move", by });
  };

const onOp =
  (isMine: (key: Key) => boolean, choosing: boolean): Binding["command"] =>
  (key, state) => {
    const op = isMine(key) ? selectedRow(state)?.op : undefined;
    return op === undefined ? undefined : { type: "why", op, choosing };
  };

const byLine = (key: Key): number =>
  key.upArrow || key.input === "k" ? -1 : key.downArrow || key.input === "j" ? 1 : 0;

/** Title, health, head of the table, hint, and the line that stays empty. */
const FRAME_LINES = 5;

function byPage(key: Key, { size }: State): number {
  const page = Math.max(1, size.height - FRAME_LINES);
  return key.pageUp ? -page : key.pageDown ? page : 0;
}

function toEnd(key: Key): number {
  if (key.home || key.input === "g") return Number.NEGATIVE_INFINITY;
  return key.end || key.input === "G" ? Number.POSITIVE_INFINITY : 0;
}

/** How far a movement key goes; 0 for any other key. */
export const stepOf = (key: Key, state: State): number => byLine(key) || byPage(key, state) || toEnd(key);

export const BINDINGS: readonly Binding[] = [
  {
    keys: null,
    does: "show the help",
    hint: "? help",
    command: onInput({ "?": { type: "mode", mode: { kind: "help" } } }),
  },
  { keys: "up, down, j, k", does: "move by one line", command: moving(byLine) },
  { keys: "page up, page down", does: "move by one screen", command: moving(byPage) },
  { keys: "home, end, g, G", does: "first, last line", command: moving(toEnd) },
  {
    keys: "/",
    does: "filter: words that op, implementation or rank (rank0) contain",
    hint: "/ filter",
    command: ({ input }, { filter }) =>
      input === "/" ? show({ type: "mode", mode: { kind: "filter", before: filter } }) : undefined,
  },
  {
    keys: "s, S",
    does: "sort by the next column, turn the order round",
    hint: "s sort",
    command: onInput({ s: { type: "sort" }, S: { type: "reverse" } }),
  },
  {
    keys: "r",
    does: "one row per rank, or all ranks in one row",
    hint: "r ranks",
    command: onInput({ r: { type: "ranks" } }),
  },
  {
    keys: "w",
    does: "why: which implementations can run, and why not",
    hint: "w why",
    command: onOp(({ input }) => input === "w", false),
  },
  {
    keys: "u, enter",
    does: "switch the op, on every rank at one step or on none",
    hint: "u switch",
    command: onOp(({ input, return: enter }) => input === "u" || enter === true, true),
  },
  {
    keys: "b",
    does: "switch back what the last switch of the audit changed, unless something else runs by now",
    hint: "b back",
    command: ({ input }) => (input === "b" ? { type: "last" } : undefined),
  },
  {
    keys: "esc",
    does: "back, or clear the filter",
    command: (key) => (key.escape ? show({ type: "unfilter", text: "" }) : undefined),
  },
  {
    keys: "q, ctrl-c",
    does: "quit; nothing is undone by that",
    hint: "q quit",
    command: ({ input, ctrl }) => (input === "q" || (ctrl && input === "c") ? { type: "quit" } : undefined),
  },
];
