import type { RankOps } from "../generated/messages.js";
import { count, duration } from "./format.js";
import { type OpRow, opRows, rankRows } from "./op-rows.js";
import { table } from "./table.js";

/** The table of ops; a rank that runs something else than the others is named below it. */
export function opLines(ranks: readonly RankOps[], perRank = false): string[] {
  const rows = perRank ? rankRows(ranks) : opRows(ranks);
  const columns = [
    { head: "OP" },
    ...(perRank ? [{ head: "RANK", right: true }] : []),
    { head: "ACTIVE" },
    { head: "CALLS", right: true },
    { head: "ERRORS", right: true },
    { head: "MEAN", right: true },
    { head: "P99", right: true },
    { head: "EPOCH", right: true },
    { head: "IMPLEMENTATIONS" },
  ];
  const mixed = rows.filter((row) => row.mixed);
  const warnings = mixed.map((row) => `warning: ranks differ on ${row.op}: ${row.active}`);
  return [
    ...table(
      columns,
      rows.map((row) => cells(row, perRank)),
    ),
    ...warnings,
  ];
}

function cells(row: OpRow, perRank: boolean): string[] {
  return [
    row.op,
    ...(perRank ? [String(row.rank)] : []),
    row.active,
    count(row.calls),
    count(row.errors),
    duration(row.meanNs),
    duration(row.p99Ns),
    String(row.epoch),
    row.impls.join(" "),
  ];
}
