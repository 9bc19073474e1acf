/** Verdicts as lines for people. */
import { count } from "./format.js";
import { table } from "./table.js";

/** What is shown of a bucket. */
interface ShownBucket {
  bucket: string;
  result: string;
  gate: string | null;
  reason: string;
  samples: number;
  latency: { mean: number; lower: number; upper: number } | null;
}

/** What is shown of a verdict. */
export interface ShownVerdict {
  id: string;
  result: string;
  reason: string;
  lost: number;
  buckets: readonly ShownBucket[];
}

const COLUMNS = [
  { head: "bucket" },
  { head: "result" },
  { head: "samples", right: true },
  { head: "slower by", right: true },
  { head: "at least", right: true },
  { head: "at most", right: true },
  { head: "why" },
];

export function verdictLines({ id, result, reason, lost, buckets }: ShownVerdict): string[] {
  const rows = buckets.map((one) => {
    const times =
      one.latency === null
        ? ["-", "-", "-"]
        : [one.latency.mean, one.latency.lower, one.latency.upper].map(slower);
    const why = one.gate === null ? one.reason : `${one.gate}: ${one.reason}`;
    return [one.bucket, one.result, count(one.samples), ...times, why];
  });
  const overrun = lost > 0 ? [`${count(lost)} samples were overwritten before they were read`] : [];
  return [
    `verdict ${id}: ${result}: ${reason}`,
    ...(rows.length > 0 ? table(COLUMNS, rows) : []),
    ...overrun,
  ];
}

/** ln(candidate / control) as a share. */
const slower = (log: number | string) => `${(100 * Math.expm1(Number(log))).toFixed(2)}%`;
