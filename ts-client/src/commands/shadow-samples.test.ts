import { expect, it } from "vitest";
import type { OpswapClient } from "../client/types.js";
import type { ShadowRecord } from "../generated/messages.js";
import { shadowSamples } from "./shadow-samples.js";

const record = (rank: number, sequence: number) =>
  ({
    rank,
    sequence,
    time_us: 10 * sequence + rank,
    bucket: "b",
    worst: sequence === 3 ? Number.POSITIVE_INFINITY : 0,
  }) as ShadowRecord;

/** The client is played: two ranks, of which an answer has two records each at most. */
function client(kept: readonly ShadowRecord[]): OpswapClient {
  const ask = async (verb: string, { after = [] }: { after?: number[] }) => {
    if (verb === "candidates") return { candidates: [{ impl: "cpu", digest: "f", dispatch_ns: 7 }] };
    if (verb === "shadow_status")
      return { ranks: kept.length > 0 ? [{ control: "ref", candidate: "cpu" }] : [] };
    const of = (rank: number) =>
      kept.filter((one) => one.rank === rank && one.sequence > (after[rank] ?? 0)).slice(0, 2);
    return { records: [...of(0), ...of(1)] };
  };
  const manifest = async () => ({ ops: [{ op: "rms_norm", hash: "h" }] });
  const status = async () => ({
    ranks: [{ build_digest: "d" }],
    framework: { model: "m" },
    version: { device_status: "none" },
  });
  return { name: "played", ask, manifest, status } as unknown as OpswapClient;
}

it("reads all records of all ranks, in order of time", async () => {
  const kept = [1, 2, 3, 4, 5].flatMap((sequence) =>
    sequence < 4 ? [record(0, sequence), record(1, sequence)] : [record(1, sequence)],
  );
  const { text, records } = await shadowSamples(client(kept), "rms_norm");
  const [head, ...lines] = text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(head).toEqual({
    kind: "header",
    schema: 1,
    op: "rms_norm",
    op_hash: "h",
    control: "ref",
    candidate: "cpu",
    candidate_digest: "f",
    candidate_dispatch_ns: 7,
    build: "d",
    engine: "played",
    model: "m",
    device: "none",
  });
  expect(records).toBe(8);
  expect(lines.map(({ rank, sequence }) => `${rank}:${sequence}`)).toEqual([
    "0:1",
    "1:1",
    "0:2",
    "1:2",
    "0:3",
    "1:3",
    "1:4",
    "1:5",
  ]);
  expect(lines.map(({ worst }) => worst)).toEqual([0, 0, 0, 0, null, null, 0, 0]);
});

it("refuses an engine without a shadow of the op", async () => {
  await expect(shadowSamples(client([]), "rms_norm")).rejects.toMatchObject({ code: "OPSWAP_E_SAMPLES" });
});
