/** Lays out the console's table for a width. */
import { shortNames } from "../view/fit.js";
import { LEFT_OUT, SORTABLE, type Sort, type SortableColumn } from "../view/op-columns.js";
import type { OpRow } from "../view/op-rows.js";
import { toWidth } from "../view/table.js";
import type { Order } from "./rows.js";

/** The name of the op stands before them, in the room that they leave. */
const COLUMNS: readonly SortableColumn[] = SORTABLE.filter(({ id }) => id !== "op");
/** A sign before what is active says that ranks differ. */
const cellOf = ({ id, cell }: SortableColumn, row: OpRow) =>
  id === "active" && row.mixed ? `!${cell(row)}` : cell(row);
/** The names of ops get this much before a column is left out. */
const NAME_WIDTH = 19;
const SIGN = 2;

/** The table's head and rows as lines of `width`, laid out for all of them at once. */
export interface Table {
  head: string;
  row(row: OpRow, selected: boolean): string;
}

/** `names` are those of every op, shown or not, so that a filter does not change how one is cut. */
export function layout(rows: readonly OpRow[], names: readonly string[], width: number, order: Order): Table {
  const longest = Math.max(2, ...names.map((name) => name.length));
  const columns = chosen(rows, width - SIGN - Math.min(longest, NAME_WIDTH) - 1, order);
  const left = width - SIGN - columns.reduce((sum, { size }) => sum + size + 1, 0);
  const nameWidth = Math.max(4, Math.min(left, Math.max(longest, "OP^".length)));
  const short = shortNames(names, nameWidth);
  const mark = (head: string, sort: Sort) =>
    order.by === sort ? `${head}${order.descending ? "v" : "^"}` : head;
  const line = (sign: string, name: string, cells: readonly string[]) =>
    toWidth([`${sign} ${toWidth(name, nameWidth)}`, ...cells].join(" "), width).trimEnd();
  return {
    head: line(
      " ",
      mark("OP", "op"),
      cells(columns, ({ head, id }) => mark(head, id)),
    ),
    // The selected row is marked by a sign, not by colour alone.
    row: (row, selected) =>
      line(
        selected ? ">" : " ",
        short.get(row.op) ?? row.op,
        cells(columns, (column) => cellOf(column, row)),
      ),
  };
}

type Sized = SortableColumn & { size: number };

/** The columns that there is room for; the one that the table is sorted by stays. */
function chosen(rows: readonly OpRow[], room: number, order: Order): Sized[] {
  let columns = COLUMNS.map((column): Sized => ({ ...column, size: sizeOf(column, rows) }));
  for (const { id } of LEFT_OUT.filter((one) => one.id !== order.by)) {
    if (columns.reduce((sum, { size }) => sum + size + 1, 0) <= room + 1) break;
    columns = columns.filter((column) => column.id !== id);
  }
  return columns;
}

/** Room for every cell, and for the arrow behind the head. */
function sizeOf(column: SortableColumn, rows: readonly OpRow[]): number {
  const { head, most = Number.POSITIVE_INFINITY } = column;
  const longest = rows.reduce((size, row) => Math.max(size, cellOf(column, row).length), 0);
  return Math.max(head.length + 1, Math.min(most, longest));
}

function cells(columns: readonly Sized[], text: (column: Sized) => string): string[] {
  return columns.map((column) => toWidth(text(column), column.size, column.right));
}
