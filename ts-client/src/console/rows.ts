/** Rows of the console's table: filtered, sorted, and cut to the screen. */
import type { RankOps } from "../generated/messages.js";
import { SORTABLE, type Sort } from "../view/op-columns.js";
import { type OpRow, opRows, rankRows } from "../view/op-rows.js";

export interface Order {
  by: Sort;
  descending: boolean;
}

/** Identity of a row, which the selection follows when the order changes. */
export function rowKey(row: OpRow): string {
  return `${row.op}#${row.rank ?? "*"}`;
}

/**
 * The rows that pass the filter, in order. A filter is words that op, implementation or rank must contain; an op that
 * one of them names whole comes first, since the names of others may contain it.
 */
export function tableRows(
  ranks: readonly RankOps[],
  perRank: boolean,
  filter: string,
  order: Order,
): OpRow[] {
  const rows = perRank ? rankRows(ranks) : opRows(ranks);
  const words = filter.toLowerCase().split(/\s+/);
  const named = (row: OpRow) => Number(words.includes(row.op));
  return rows.filter((row) => passes(row, words)).sort((a, b) => named(b) - named(a) || compare(a, b, order));
}

function passes(row: OpRow, words: readonly string[]): boolean {
  const text = `${row.op} ${row.active} ${row.rank === null ? "" : `rank${row.rank}`}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

/** Ties fall back to op and rank, so that rows do not jump about. */
function compare(a: OpRow, b: OpRow, { by, descending }: Order): number {
  const value = SORTABLE.find(({ id }) => id === by)?.sort ?? (() => 0);
  const main = compareValues(value(a), value(b)) * (descending ? -1 : 1);
  return main || compareValues(a.op, b.op) || (a.rank ?? -1) - (b.rank ?? -1);
}

function compareValues(a: string | number, b: string | number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The part of a list that fits `height` lines and contains `index`, as first and end. */
export function visiblePart(length: number, index: number, height: number): [number, number] {
  const first = Math.min(Math.max(0, index - Math.floor(height / 2)), Math.max(0, length - height));
  return [first, Math.min(length, first + height)];
}
