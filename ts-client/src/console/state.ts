/** The state of the console, and how it changes. */
import type { Back } from "../experiments/audit/revert.js";
import type { Seen } from "../feed/feed.js";
import type { RankOps, RankRefusal, StatusResult, UseResult, WhyResult } from "../generated/messages.js";
import { SORTABLE } from "../view/op-columns.js";
import { type Order, rowKey, tableRows } from "./rows.js";

/** What the table is covered by, and what keys mean then. */
export type Mode =
  | { kind: "table" }
  | { kind: "filter"; before: string }
  | { kind: "help" }
  | { kind: "impls"; op: string; choosing: boolean; why: WhyResult | null; index: number }
  | { kind: "confirm"; op: string; impl: string; active: string }
  | { kind: "confirm-back"; back: Back }
  | { kind: "switching"; op: string; impl: string }
  | { kind: "switched"; result: UseResult }
  | { kind: "failed"; title: string; failure: Failure };

export interface Failure {
  code: string;
  message: string;
  remedy: string;
  ranks: RankRefusal[];
}

export interface Size {
  width: number;
  height: number;
}

export interface State {
  /** Of the terminal. */
  size: Size;
  /** Whom we talk to; null until the first answer. */
  status: StatusResult | null;
  ranks: RankOps[];
  /** When `ranks` came; null before. */
  seen: number | null;
  /** Why the last answer failed; null when it did not. */
  lost: Failure | null;
  perRank: boolean;
  filter: string;
  order: Order;
  /** Key of the selected row. */
  selected: string | null;
  mode: Mode;
  /** The first line shown of a text that covers the table. */
  top: number;
}

export type Action =
  | Seen
  | { type: "lost"; failure: Failure }
  | { type: "size"; size: Size }
  | { type: "move"; by: number }
  | { type: "sort" }
  | { type: "reverse" }
  | { type: "ranks" }
  | { type: "filter"; text: string }
  /** Leaves the filter line with this text as the filter. */
  | { type: "unfilter"; text: string }
  | { type: "mode"; mode: Mode }
  | { type: "scroll"; top: number }
  | { type: "why"; why: WhyResult }
  | { type: "pick"; by: number };

export const INITIAL: State = {
  size: { width: 80, height: 24 },
  status: null,
  ranks: [],
  seen: null,
  lost: null,
  perRank: true,
  filter: "",
  order: { by: "op", descending: false },
  selected: null,
  mode: { kind: "table" },
  top: 0,
};

export function rowsOf(state: State) {
  return tableRows(state.ranks, state.perRank, state.filter, state.order);
}

/** The names of all ops, whatever the filter hides. */
export function opNames({ ranks }: State): string[] {
  return ranks.flatMap(({ ops }) => ops.map(({ op }) => op));
}

/** Index of the selected row; the first one when it has gone. */
export function selectedIndex(state: State): number {
  const index = rowsOf(state).findIndex((row) => rowKey(row) === state.selected);
  return Math.max(0, index);
}

export function selectedRow(state: State) {
  return rowsOf(state)[selectedIndex(state)];
}

export function reduce(state: State, action: Action): State {
  switch (action.type) {
    case "seen":
      return seen(state, action);
    case "lost":
      return { ...state, lost: action.failure };
    case "move":
      return moved(state, action.by);
    case "sort":
      return { ...state, order: { ...state.order, by: nextSort(state.order) } };
    case "reverse":
      return { ...state, order: { ...state.order, descending: !state.order.descending } };
    case "ranks":
      return { ...state, perRank: !state.perRank, selected: null };
    case "filter":
      return { ...state, filter: action.text };
    case "unfilter":
      return { ...state, filter: action.text, mode: { kind: "table" } };
    case "mode":
      return { ...state, mode: action.mode, top: 0 };
    case "scroll":
      return { ...state, top: action.top };
    case "size":
      return { ...state, size: action.size };
    case "why":
    case "pick":
      return { ...state, mode: implsMode(state.mode, action) };
  }
}

/** What the feed leaves out is as it was. */
function seen(state: State, { status, ranks, at }: Seen): State {
  return { ...state, status: status ?? state.status, ranks: ranks ?? state.ranks, seen: at, lost: null };
}

function moved(state: State, by: number): State {
  const rows = rowsOf(state);
  const index = Math.min(Math.max(0, selectedIndex(state) + by), rows.length - 1);
  const row = rows[index];
  return row ? { ...state, selected: rowKey(row) } : state;
}

function nextSort({ by }: Order) {
  const next = SORTABLE.findIndex(({ id }) => id === by) + 1;
  return SORTABLE[next % SORTABLE.length]?.id ?? "op";
}

/** An answer about another op, or one that comes after the view was left, changes nothing. */
function implsMode(mode: Mode, action: Extract<Action, { type: "why" | "pick" }>): Mode {
  if (mode.kind !== "impls") return mode;
  if (action.type === "why") return action.why.op === mode.op ? { ...mode, why: action.why } : mode;
  const last = (mode.why?.ranks[0]?.impls.length ?? 1) - 1;
  return { ...mode, index: Math.min(Math.max(0, mode.index + action.by), last) };
}
