import { Command } from "commander";
import type { RankOps } from "../generated/messages.js";
import { count, duration } from "../view/format.js";
import { type OpRow, opRows, rankRows } from "../view/op-rows.js";
import { table } from "../view/table.js";
import {
  type Context,
  EXIT,
  examples,
  show,
  sidecarOption,
  type Target,
  targetOptions,
  withTarget,
} from "./context.js";

interface Options extends Target {
  ranks?: boolean;
}

export function opsCommand(context: Context): Command {
  const command = new Command("ops")
    .description("list ops: what runs, how often, how fast")
    .option("--ranks", "one line per rank")
    .addHelpText("after", examples("ops", "ops --ranks", "ops --local --json"));
  return sidecarOption(targetOptions(command)).action(async (options: Options) => {
    const result = await withTarget(options, (client) => client.ops());
    show(context.io, options.json, result, ({ ranks }) => opLines(ranks, options.ranks));
    context.exitCode = EXIT.ok;
  });
}

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
