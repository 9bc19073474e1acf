import { shortNames } from "../view/fit.js";
import { count, duration } from "../view/format.js";
import type { OpRow } from "../view/op-rows.js";
import { toWidth } from "../view/table.js";
import type { Order, Sort } from "./rows.js";

interface Column {
  head: string;
  sort: Sort;
  right: boolean;
  /** Its cells may be cut to this. */
  most?: number;
  cell(row: OpRow): string;
}

const COLUMNS: readonly Column[] = [
  {
    head: "RANK",
    sort: "rank",
    right: true,
    cell: (row) => (row.rank === null ? "all" : String(row.rank)),
  },
  {
    head: "ACTIVE",
    sort: "active",
    right: false,
    most: 14,
    cell: (row) => (row.mixed ? `!${row.active}` : row.active),
  },
  { head: "CALLS", sort: "calls", right: true, cell: (row) => count(row.calls) },
  { head: "MEAN", sort: "mean", right: true, cell: (row) => duration(row.meanNs) },
  { head: "P99", sort: "p99", right: true, cell: (row) => duration(row.p99Ns) },
  { head: "EPOCH", sort: "epoch", right: true, cell: (row) => String(row.epoch) },
];
/** Columns that a narrow screen leaves out, in this order. */
const DISPENSABLE: readonly Sort[] = ["epoch", "p99", "mean", "calls"];
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
      cells(columns, ({ head, sort }) => mark(head, sort)),
    ),
    // The selected row is marked by a sign, not by colour alone.
    row: (row, selected) =>
      line(
        selected ? ">" : " ",
        short.get(row.op) ?? row.op,
        cells(columns, (column) => column.cell(row)),
      ),
  };
}

type Sized = Column & { size: number };

/** The columns that there is room for; the one that the table is sorted by stays. */
function chosen(rows: readonly OpRow[], room: number, order: Order): Sized[] {
  let columns = COLUMNS.map((column): Sized => ({ ...column, size: sizeOf(column, rows) }));
  for (const sort of DISPENSABLE.filter((one) => one !== order.by)) {
    if (columns.reduce((sum, { size }) => sum + size + 1, 0) <= room + 1) break;
    columns = columns.filter((column) => column.sort !== sort);
  }
  return columns;
}

/** Room for every cell, and for the arrow behind the head. */
function sizeOf({ head, most = Number.POSITIVE_INFINITY, cell }: Column, rows: readonly OpRow[]): number {
  const longest = rows.reduce((size, row) => Math.max(size, cell(row).length), 0);
  return Math.max(head.length + 1, Math.min(most, longest));
}

function cells(columns: readonly Sized[], text: (column: Sized) => string): string[] {
  return columns.map((column) => toWidth(text(column), column.size, column.right));
}
