import { Command } from "commander";
import type { RankWhy, WhyResult } from "../generated/messages.js";
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

export function whyCommand(context: Context): Command {
  const command = new Command("why")
    .description("say which implementations of an op can run here, and why the others cannot")
    .argument("<op>", "the op")
    .addHelpText(
      "after",
      examples("why rms_norm", "why linear --engine smollm2 --json", "why linear --sidecar second"),
    );
  return sidecarOption(targetOptions(command)).action(async (op: string, options: Target) => {
    const result = await withTarget(options, (client) => client.why(op));
    show(context.io, options.json, result, whyLines);
    context.exitCode = EXIT.ok;
  });
}

export function whyLines({ op, ranks }: WhyResult): string[] {
  return groupRanks(ranks).flatMap(({ where, why }) => paragraph(op, where, why));
}

/** Ranks that say the same are one group. */
export function groupRanks(ranks: readonly RankWhy[]): { where: string; why: RankWhy }[] {
  const groups = new Map<string, { ranks: number[]; why: RankWhy }>();
  for (const why of ranks) {
    const key = JSON.stringify({ ...why, rank: 0 });
    const group = groups.get(key) ?? { ranks: [], why };
    group.ranks.push(why.rank);
    groups.set(key, group);
  }
  return [...groups.values()].map(({ ranks: same, why }) => ({
    where: same.length === 1 ? `rank ${same[0]}` : `ranks ${same.join(", ")}`,
    why,
  }));
}

function paragraph(op: string, where: string, why: RankWhy): string[] {
  const rows = why.impls.map((impl) => [
    impl.name === why.active ? "*" : "",
    impl.name,
    impl.usable ? "yes" : "no",
    String(impl.priority),
    [impl.external ? "registered by the engine" : "", impl.reason].filter(Boolean).join("; "),
  ]);
  const columns = [
    { head: "" },
    { head: "IMPLEMENTATION" },
    { head: "USABLE" },
    { head: "PRIORITY", right: true },
    { head: "WHY" },
  ];
  return [`${op} version ${why.op_version}, ${where}: ${why.active} is active`, ...table(columns, rows)];
}
