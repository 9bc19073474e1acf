/** The table that `opswap ops` prints. */
import type { RankOps } from "../generated/messages.js";
import { OP_COLUMNS } from "./op-columns.js";
import { opRows, rankRows } from "./op-rows.js";
import { table } from "./table.js";

/** The table of ops; a rank that runs something else than the others is named below it. */
export function opLines(ranks: readonly RankOps[], perRank = false): string[] {
  const rows = perRank ? rankRows(ranks) : opRows(ranks);
  const columns = OP_COLUMNS.filter(({ id }) => perRank || id !== "rank");
  const mixed = rows.filter((row) => row.mixed);
  const warnings = mixed.map((row) => `warning: ranks differ on ${row.op}: ${row.active}`);
  const cells = rows.map((row) => columns.map(({ cell }) => cell(row)));
  return [...table(columns, cells), ...warnings];
}
