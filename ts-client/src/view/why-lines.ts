/** What `opswap why` found, as lines for people. */
import type { ImplWhy, RankWhy, WhyResult } from "../generated/messages.js";
import { groupRanks } from "./rank-groups.js";
import { table } from "./table.js";

/** Per group of ranks that say the same: which implementations of an op can run, and why the others cannot. */
export function whyLines({ op, ranks }: WhyResult): string[] {
  return groupRanks(ranks).flatMap(({ where, why }) => paragraph(op, where, why));
}

/** Of the library's own there is nothing to say. */
function origin({ external, kind, digest }: ImplWhy): string {
  if (kind === "build" || kind === "python") return `registered: ${kind}, sha256 ${digest?.slice(0, 12)}`;
  return external ? "registered by the engine" : "";
}

function paragraph(op: string, where: string, why: RankWhy): string[] {
  const rows = why.impls.map((impl) => [
    impl.name === why.active ? "*" : "",
    impl.name,
    impl.usable ? "yes" : "no",
    String(impl.priority),
    [origin(impl), switchedBy(impl), invariant(impl), impl.reason].filter(Boolean).join("; "),
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

/** What a switch takes, where that is more than a live one. */
function switchedBy({ toggle_class: toggleClass = "live" }: ImplWhy): string {
  return toggleClass === "live" ? "" : `switched by ${toggleClass}`;
}

/** What a row's same bits at every batch size cost, where the implementation can give them. */
function invariant({ batch_invariant: cost }: ImplWhy): string {
  return cost === undefined ? "" : `batch_invariant: ${cost}`;
}
