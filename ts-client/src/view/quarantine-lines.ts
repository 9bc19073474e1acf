/** What `opswap quarantine` prints. */
import type { Quarantined, Reference } from "../generated/messages.js";
import { count, duration } from "./format.js";
import { table } from "./table.js";

const right = true;
const REFERENCES = [
  { head: "BUCKET" },
  { head: "CALLS", right },
  { head: "CONTROL", right },
  { head: "CANDIDATE", right },
];
const KEPT = [
  { head: "OP" },
  { head: "CANDIDATE" },
  { head: "CONTROL" },
  { head: "VERDICT" },
  { head: "CALLS", right },
  { head: "BIT-EQUAL" },
  { head: "REASON" },
];

export function quarantineLines(found: Quarantined): string[] {
  const { op, impl, control, verdict, reason, took_ms } = found;
  const head = `${op}: ${impl} against ${control}: ${verdict}, ${count(found.calls)} calls in ${duration(took_ms * 1e6)}`;
  const equal = found.bit_equal ? "  bit-equal in all of them" : "";
  const why = reason === "" ? equal : `  it ${reason}`;
  const refused = found.refused.map((one) => `  left out ${one.file}: ${one.reason}`);
  return [head, ...(why === "" ? [] : [why]), ...refused, ...referenceLines(found.references)];
}

/** Largest differences from the float64 reference, over what the tolerance allows. */
function referenceLines(references: readonly Reference[]): string[] {
  if (references.length === 0) return [];
  const buckets = [...new Set(references.map(({ bucket }) => bucket))];
  const rows = buckets.map((bucket) => {
    const mine = references.filter((one) => one.bucket === bucket);
    const worst = (key: "control_worst" | "candidate_worst") => share(mine.map((one) => one[key]));
    return [bucket, count(mine.length), worst("control_worst"), worst("candidate_worst")];
  });
  return ["  from the float64 reference, over the tolerance:", ...table(REFERENCES, rows)];
}

function share(each: readonly (number | null)[]): string {
  const numbers = each.filter((one) => one !== null);
  return numbers.length < each.length ? "not finite" : Math.max(...numbers).toPrecision(3);
}

export function keptLines(results: readonly Quarantined[]): string[] {
  if (results.length === 0) return ["no candidate was in quarantine yet"];
  const rows = results.map((one) => [
    one.op,
    one.impl,
    one.control,
    one.verdict,
    count(one.calls),
    one.bit_equal ? "yes" : "no",
    one.reason,
  ]);
  return table(KEPT, rows);
}
