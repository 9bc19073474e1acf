/** Implementations of ops as lines for people, whoever brought them. */
import type { Candidate } from "../generated/messages.js";
import { table } from "./table.js";

const DIGEST_DIGITS = 12;
const COLUMNS = [
  { head: "" },
  { head: "OP" },
  { head: "IMPLEMENTATION" },
  { head: "KIND" },
  { head: "DIGEST" },
  { head: "USABLE" },
  { head: "DISPATCH", right: true },
  { head: "STANDING" },
];

/** A star marks what runs now. */
export function candidateLines(candidates: readonly Candidate[]): string[] {
  return table(COLUMNS, candidates.map(cells));
}

function cells(one: Candidate): string[] {
  return [
    one.active ? "*" : "",
    one.op,
    one.impl,
    one.kind,
    one.digest.slice(0, DIGEST_DIGITS) || "-",
    one.usable ? "yes" : "no",
    one.dispatch_ns === undefined ? "-" : `${(one.dispatch_ns / 1000).toFixed(1)} us`,
    standing(one),
  ];
}

function standing({ barred, on_trial, quarantine, reason }: Candidate): string {
  const { state, reason: found } = quarantine;
  return [
    barred && `barred: ${barred}`,
    on_trial && "on trial",
    state !== "none" && `quarantine: ${state}${found && `: ${found}`}`,
    reason,
  ]
    .filter(Boolean)
    .join("; ");
}
