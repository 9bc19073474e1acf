/** Counters of ops as rows of a table, by rank or over all ranks. */
import type { ImplStats, RankOps } from "../generated/messages.js";

/** One op as one line: on one rank, or over all of them. */
export interface OpRow {
  op: string;
  /** One rank, or null for all together. */
  rank: number | null;
  /** The active implementation; several, joined by "/", when ranks differ. */
  active: string;
  /** Ranks do not run the same implementation. */
  mixed: boolean;
  /** Every implementation, in the library's order. */
  impls: string[];
  /** What a switch to or from it takes, of implementations whose switch is not live on every rank. */
  toggles: Record<string, string>;
  /** Of all implementations since the last reset. */
  calls: number;
  errors: number;
  /** Calls of the active implementation that were timed in the window; 0 where it had none. */
  timed: number;
  /** Of the active implementation, weighted by its timed calls. */
  meanNs: number;
  /** Of the active implementation, on the slowest rank. */
  p50Ns: number;
  p99Ns: number;
  /** Committed epoch; the lowest, when ranks differ. */
  epoch: number;
}

/** One row per op and rank. */
export function rankRows(ranks: readonly RankOps[]): OpRow[] {
  return ranks.flatMap(({ rank, epoch, ops }) =>
    ops.map(({ op, active, impls }) => {
      const used = impls.find((impl) => impl.name === active);
      return {
        op,
        rank,
        active,
        mixed: false,
        impls: impls.map((impl) => impl.name),
        toggles: togglesOf(impls),
        calls: sum(impls, "calls"),
        errors: sum(impls, "errors"),
        timed: used?.timed ?? 0,
        meanNs: used?.mean_ns ?? 0,
        p50Ns: used?.p50_ns ?? 0,
        p99Ns: used?.p99_ns ?? 0,
        epoch,
      };
    }),
  );
}

/** One row per op over all ranks, in the first rank's order. */
export function opRows(ranks: readonly RankOps[]): OpRow[] {
  const byOp = new Map<string, OpRow[]>();
  for (const row of rankRows(ranks)) byOp.set(row.op, [...(byOp.get(row.op) ?? []), row]);
  return [...byOp.values()].map(merge);
}

function merge(rows: readonly OpRow[]): OpRow {
  const actives = [...new Set(rows.map((row) => row.active))];
  const add = (value: (row: OpRow) => number) => rows.reduce((total, row) => total + value(row), 0);
  const timed = add((row) => row.timed);
  return {
    op: rows[0]?.op ?? "",
    rank: null,
    active: actives.join("/"),
    mixed: actives.length > 1,
    impls: [...new Set(rows.flatMap((row) => row.impls))],
    toggles: Object.assign({}, ...rows.map((row) => row.toggles)),
    calls: add((row) => row.calls),
    errors: add((row) => row.errors),
    timed,
    meanNs: timed === 0 ? 0 : add((row) => row.meanNs * row.timed) / timed,
    p50Ns: Math.max(...rows.map((row) => row.p50Ns)),
    p99Ns: Math.max(...rows.map((row) => row.p99Ns)),
    epoch: Math.min(...rows.map((row) => row.epoch)),
  };
}

function togglesOf(impls: readonly ImplStats[]): Record<string, string> {
  const told = impls.map(({ name, toggle_class = "live" }) => [name, toggle_class] as const);
  return Object.fromEntries(told.filter(([, toggleClass]) => toggleClass !== "live"));
}

function sum(impls: readonly ImplStats[], key: "calls" | "errors"): number {
  return impls.reduce((total, impl) => total + impl[key], 0);
}
