/** The table that `opswap ops --buckets` prints: times by shape bucket, of every implementation that has some. */
import type { RankOps } from "../generated/messages.js";
import { count, duration } from "./format.js";
import { table } from "./table.js";

const right = true;
const COLUMNS = [
  { head: "OP" },
  { head: "RANK", right },
  { head: "IMPLEMENTATION" },
  { head: "BUCKET" },
  { head: "TIMED", right },
  { head: "MEAN", right },
  { head: "P50", right },
  { head: "P99", right },
];

/** One line per op, rank, implementation and bucket, and one for calls whose bucket had no place in the library's table. */
export function bucketLines(ranks: readonly RankOps[]): string[] {
  const cells = ranks.flatMap(({ rank, ops }) =>
    ops.flatMap(({ op, impls }) =>
      impls.flatMap(({ name, buckets, beyond_buckets }) => [
        ...buckets.map((one) => [
          ...[op, String(rank), name, one.bucket, count(one.timed)],
          ...[one.mean_ns, one.p50_ns, one.p99_ns].map(duration),
        ]),
        ...(beyond_buckets === 0
          ? []
          : [[op, String(rank), name, "more buckets", count(beyond_buckets), "-", "-", "-"]]),
      ]),
    ),
  );
  return cells.length === 0 ? ["no call was timed in the last minute"] : table(COLUMNS, cells);
}
