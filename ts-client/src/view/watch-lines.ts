/** What `opswap shadow` and `opswap record` print. */
import type { BucketCount, RankRecording, RankShadow, ShadowRecord } from "../generated/messages.js";
import { bytes, count, duration } from "./format.js";
import { table } from "./table.js";

const right = true;
const BUCKETS = [
  { head: "RANK", right },
  { head: "BUCKET" },
  { head: "SEEN", right },
  { head: "CHOSEN", right },
];
const RECORDS = [
  { head: "RANK", right },
  { head: "STEP", right },
  { head: "LAYER", right },
  { head: "BUCKET" },
  { head: "CONTROL", right },
  { head: "CANDIDATE", right },
  { head: "OUTSIDE", right },
  { head: "MAX ABS", right },
];

interface Watched {
  rank: number;
  running: boolean;
  ended_by: string;
  left_out: Record<string, number>;
  buckets: BucketCount[];
}

export function shadowLines(ranks: readonly RankShadow[]): string[] {
  const heads = ranks.map(
    (one) =>
      `rank ${one.rank}: ${one.op}, ${one.candidate} against ${one.control}, ${standing(one)}: ` +
      `${count(one.recorded)} calls compared in ${duration(one.took_ns)}${leftOut(one)}`,
  );
  return [...heads, ...bucketTable(ranks)];
}

export function recordingLines(ranks: readonly RankRecording[]): string[] {
  const heads = ranks.map(
    (one) =>
      `rank ${one.rank}: ${one.op}, ${standing(one)}: ` +
      `${count(one.files)} files of ${bytes(one.bytes)} in ${one.folder}${leftOut(one)}`,
  );
  return [...heads, ...bucketTable(ranks)];
}

export function recordLines(records: readonly ShadowRecord[]): string[] {
  if (records.length === 0) return ["no call was compared yet"];
  const cells = records.map((one) => [
    String(one.rank),
    String(one.step),
    String(one.layer),
    one.bucket,
    ...arms(one),
    count(one.outside),
    one.max_abs.toPrecision(3),
  ]);
  return table(RECORDS, cells);
}

/** Times, or what came instead. */
function arms(one: ShadowRecord): [string, string] {
  const cell = (status: string, ns: number) => (status === "OPSWAP_OK" ? duration(ns) : status);
  return [cell(one.control_status, one.control_ns), cell(one.candidate_status, one.candidate_ns)];
}

function standing({ running, ended_by }: Watched): string {
  if (running) return "running";
  return ended_by === "" ? "stopped" : `ended by itself: ${ended_by}`;
}

function leftOut({ left_out }: Watched): string {
  const told = Object.entries(left_out).filter(([, calls]) => calls > 0);
  return told.length === 0
    ? ""
    : `; left out ${told.map(([why, calls]) => `${count(calls)} for ${why}`).join(", ")}`;
}

function bucketTable(ranks: readonly Watched[]): string[] {
  const rows = ranks.flatMap(({ rank, buckets }) =>
    buckets.map((one) => [String(rank), one.bucket, count(one.seen), count(one.chosen)]),
  );
  return rows.length === 0 ? [] : table(BUCKETS, rows);
}
