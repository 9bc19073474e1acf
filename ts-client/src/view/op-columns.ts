/** The columns of tables of ops. */
import { count, duration } from "./format.js";
import type { OpRow } from "./op-rows.js";

/** A column of a table of ops: the lists that `opswap ops` prints and the console's table are made of these. */
export interface OpColumn {
  id: string;
  head: string;
  /** Numbers line up at the right. */
  right?: true;
  cell(row: OpRow): string;
  /** What the console sorts by; it shows columns that have it. */
  sort?(row: OpRow): string | number;
  /** The console may cut its cells to this. */
  most?: number;
  /** When a narrow screen leaves it out: the lowest goes first, and those without a number stay. */
  leftOut?: number;
}

/** Names; what takes more than a live switch says so. */
function implementations({ impls, toggles }: OpRow): string {
  return impls.map((name) => (toggles[name] ? `${name} (${toggles[name]})` : name)).join(" ");
}

export const OP_COLUMNS = [
  { id: "op", head: "OP", cell: (row) => row.op, sort: (row) => row.op },
  {
    id: "rank",
    head: "RANK",
    right: true,
    cell: (row) => (row.rank === null ? "all" : String(row.rank)),
    sort: (row) => row.rank ?? -1,
  },
  { id: "active", head: "ACTIVE", most: 14, cell: (row) => row.active, sort: (row) => row.active },
  {
    id: "calls",
    head: "CALLS",
    right: true,
    leftOut: 5,
    cell: (row) => count(row.calls),
    sort: (row) => row.calls,
  },
  { id: "errors", head: "ERRORS", right: true, cell: (row) => count(row.errors) },
  {
    id: "mean",
    head: "MEAN",
    right: true,
    leftOut: 4,
    cell: (row) => duration(row.meanNs),
    sort: (row) => row.meanNs,
  },
  {
    id: "p50",
    head: "P50",
    right: true,
    leftOut: 2,
    cell: (row) => duration(row.p50Ns),
    sort: (row) => row.p50Ns,
  },
  {
    id: "p99",
    head: "P99",
    right: true,
    leftOut: 3,
    cell: (row) => duration(row.p99Ns),
    sort: (row) => row.p99Ns,
  },
  {
    id: "epoch",
    head: "EPOCH",
    right: true,
    leftOut: 1,
    cell: (row) => String(row.epoch),
    sort: (row) => row.epoch,
  },
  { id: "impls", head: "IMPLEMENTATIONS", cell: implementations },
] as const satisfies readonly OpColumn[];

type Columns = (typeof OP_COLUMNS)[number];
/** A column that the console can sort by. */
export type Sort = Extract<Columns, { sort: unknown }>["id"];
export type SortableColumn = OpColumn & { id: Sort; sort(row: OpRow): string | number };

const isSortable = (column: OpColumn): column is SortableColumn => column.sort !== undefined;
/** In the order in which `s` goes through them. */
export const SORTABLE: readonly SortableColumn[] = (OP_COLUMNS as readonly OpColumn[]).filter(isSortable);

/** Columns that a narrow screen leaves out, the first one first. */
export const LEFT_OUT: readonly SortableColumn[] = SORTABLE.filter(
  ({ leftOut }) => leftOut !== undefined,
).sort((a, b) => (a.leftOut ?? 0) - (b.leftOut ?? 0));
