/** An experiment's run with an engine in its place: what is asked for, what is judged, and how it ends. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { deriveVerdict, parseSpec } from "../../ts-client/src/experiments/index.js";
import { type Look, runExperiment } from "../../ts-client/src/experiments/live/run-experiment.js";
import type { ShadowRecord } from "../../ts-client/src/generated/messages.js";
import { clientOf, status } from "../../ts-client/src/testing/console-fixtures.js";
import { normal } from "../bench/_series.mjs";
import { BUCKET, SPEC_TEXT } from "./samples.js";

const folder = mkdtempSync(path.join(tmpdir(), "opswap-live-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const samplesFile = path.join(folder, "samples.jsonl");

const QUICK = "analysis: {interval: 5ms, timeout: 2s}\n";
const draw = normal(3);

function record(sequence: number, more: Partial<ShadowRecord> = {}): ShadowRecord {
  const codes = { control_status: "OPSWAP_OK", candidate_status: "OPSWAP_OK" };
  const place = { rank: 0, step: sequence, epoch: 0, layer: 0, bucket: BUCKET, time_us: 1 };
  const times = {
    control_ns: Math.round(1e6 * Math.exp(0.02 * draw())),
    candidate_ns: Math.round(1e6 * Math.exp(0.02 * draw())),
  };
  const same = { elements: 10, differing: 0, outside: 0, became_nonfinite: 0, max_abs: 0, worst: 0 };
  const order = { candidate_first: sequence % 2 === 0, candidate_overran: false };
  return { sequence, ...place, ...codes, ...times, ...same, ...order, ...more };
}

/** What the engine says of the two arms. */
const CANDIDATES = [
  { impl: "ref", digest: "b".repeat(64), dispatch_ns: 1500 },
  { impl: "cpu", digest: "c".repeat(64) },
];

/** An engine whose shadow has so many new records at each look. */
function engine(perLook: number, make: (sequence: number) => ShadowRecord, rank: object = {}) {
  const asked: { verb: string; request: Record<string, unknown> }[] = [];
  let [made, isNew, salt] = [0, false, 0];
  const client = clientOf({
    name: "demo",
    status: async () => status(),
    manifest: async () =>
      ({
        schema: 1,
        errors: [{ code: 19, name: "OPSWAP_E_EXTERNAL", meaning: "", remedy: "" }],
        ops: [{ op: "rms_norm", version: 1, hash: "h", summary: "", args: [] }],
      }) as never,
    ask: async (verb: string, request: Record<string, unknown>) => {
      if (verb === "candidates") return { candidates: CANDIDATES } as never;
      asked.push({ verb, request });
      if (verb === "shadow_start") salt = request.salt as number;
      if (verb !== "shadow_read")
        return {
          ranks: [
            {
              salt,
              running: true,
              ended_by: "",
              recorded: Number.MAX_SAFE_INTEGER,
              buckets: [],
              left_out: {},
              ...rank,
            },
          ],
        } as never;
      // Each look reads until there is nothing more.
      isNew = !isNew;
      const records = Array.from({ length: isNew ? perLook : 0 }, () => make(++made));
      if (isNew) expect(request.after).toEqual(made > perLook ? [made - perLook] : []);
      return { records } as never;
    },
  });
  return { client, asked };
}

async function looks(
  at: ReturnType<typeof engine>,
  more = QUICK,
  signal = new AbortController().signal,
): Promise<Look[]> {
  const { spec } = parseSpec("spec.yaml", SPEC_TEXT + more);
  if (spec.kind !== "Experiment") throw new Error("not an experiment");
  const all: Look[] = [];
  for await (const look of runExperiment(at.client, spec, { samplesFile, signal })) all.push(look);
  return all;
}

describe("an experiment's run", () => {
  it("starts the shadow as its file says, holds until the verdict passes, and stops it", async () => {
    const at = engine(100, (n) => record(n));
    const all = await looks(at, `sampling: {share: 5%, budget: 2%, most_of_bucket: 9000}\n${QUICK}`);
    expect(at.asked[0]).toMatchObject({
      verb: "shadow_start",
      request: {
        op: "rms_norm",
        control: "ref",
        candidate: "cpu",
        share_of_calls: 0.05,
        share_of_time: 0.02,
        first_of_bucket: 200,
        most_of_bucket: 9000,
      },
    });
    expect(all.length).toBeGreaterThan(1);
    expect(all.slice(0, -1).every(({ action }) => action === "hold")).toBe(true);
    expect(all.at(-1)).toMatchObject({ action: "promotable", judgement: { result: "pass", lost: 0 } });
    const { salt } = at.asked[0]?.request ?? {};
    expect(at.asked.at(-1)).toEqual({ verb: "shadow_stop", request: { op: "rms_norm", salt } });
    // The samples that it wrote give the same verdict.
    const read = parseSpec("spec.yaml", SPEC_TEXT + QUICK);
    const derived = deriveVerdict(read as never, samplesFile);
    expect(derived).toMatchObject({ result: "pass", samples: { engine: "demo", model: "smollm2" } });
    expect(derived.samples.lines).toBe(1 + (all.at(-1)?.samples ?? 0));
    const header = JSON.parse(readFileSync(samplesFile, "utf8").split("\n", 1)[0] ?? "");
    expect(header).toMatchObject({ salt, candidate_digest: "c".repeat(64), control_dispatch_ns: 1500 });
    expect(header).not.toHaveProperty("candidate_dispatch_ns");
  });

  it.each<[string, Partial<ShadowRecord>, RegExp]>([
    ["is slower", { candidate_ns: 1_200_000 }, /latency: slower by at least/],
    ["errs", { candidate_status: "OPSWAP_E_EXTERNAL" }, /safety/],
    ["ends with a code that nobody knows", { candidate_status: "OPSWAP_E_FUTURE" }, /safety/],
    ["makes NaN", { became_nonfinite: 1, outside: 1, worst: Number.MAX_VALUE }, /safety|numerics/],
    ["is wrong", { outside: 2, differing: 2, worst: 40, max_abs: 0.1 }, /numerics/],
    ["writes elsewhere", { candidate_overran: true }, /safety/],
  ])("is taken back where the candidate %s", async (_what, fault, reason) => {
    const all = await looks(engine(100, (n) => record(n, fault)));
    expect(all.at(-1)).toMatchObject({ action: "rollback", judgement: { result: "fail" } });
    expect(all.at(-1)?.judgement.reason).toMatch(reason);
  });

  it.each([
    ["looked at as soon as it fails, and not before", true, { candidate_ns: 1_200_000 }, "rollback"],
    ["not looked at early where it fares well", true, {}, "end"],
    ["not looked at early where it does not serve", false, { candidate_ns: 1_200_000 }, "rollback"],
  ])("a candidate is %s", async (_what, isServing, fault, action) => {
    const { spec } = parseSpec("spec.yaml", `${SPEC_TEXT}analysis: {interval: 1h}\n`);
    if (spec.kind !== "Experiment") throw new Error("not an experiment");
    const stop = new AbortController();
    // Whatever waits for its interval is ended by this.
    const timer = setTimeout(() => stop.abort(), isServing && action === "rollback" ? 60_000 : 300);
    const all: Look[] = [];
    const client = engine(action === "end" ? 1 : 1000, (n) => record(n, fault)).client;
    for await (const look of runExperiment(client, spec, { samplesFile, signal: stop.signal, isServing }))
      all.push(look);
    clearTimeout(timer);
    expect(all).toMatchObject([{ action }]);
    expect(stop.signal.aborted).toBe(!(isServing && action === "rollback"));
  });

  it("never passes without traffic, and is left when its time is over", async () => {
    const all = await looks(engine(0, record), "analysis: {interval: 5ms, timeout: 50ms}\n");
    expect(all.at(-1)).toMatchObject({ action: "end", samples: 0, judgement: { result: "no-data" } });
  });

  it("ends at the next look when it is interrupted", async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 20);
    const all = await looks(engine(0, record), "analysis: {interval: 1h}\n", stop.signal);
    expect(all).toHaveLength(1);
    expect(all[0]?.action).toBe("end");
  });

  it("stops the shadow where the engine goes away", async () => {
    const at = engine(1, record);
    const lost = new Error("the engine is gone");
    const { ask } = at.client;
    at.client.ask = (async (verb: "shadow_read", request: never) => {
      if (verb === "shadow_read") throw lost;
      return ask(verb, request);
    }) as typeof at.client.ask;
    await expect(looks(at)).rejects.toThrow("the engine is gone");
    expect(at.asked.at(-1)?.verb).toBe("shadow_stop");
  });

  it.each([
    ["stopped by someone else", { running: false }, /someone else stopped it/],
    ["replaced by another one", { salt: 1 }, /another one was started in its place/],
  ])("breaks off where its shadow was %s", async (_what, rank, message) => {
    const at = engine(0, record, rank);
    await expect(looks(at)).rejects.toMatchObject({
      code: "OPSWAP_E_SAMPLES",
      message: expect.stringMatching(message),
    });
    expect(at.asked.at(-1)?.verb).toBe("shadow_stop");
  });

  it("takes the fault that the shadow was ended for as a fault, where its record was overrun", async () => {
    const ended_by = "the candidate wrote outside its outputs";
    const all = await looks(engine(0, record, { running: false, ended_by, buckets: [] }));
    expect(all).toMatchObject([{ action: "rollback", judgement: { result: "fail" } }]);
    expect(all[0]?.judgement.reason).toMatch(/safety: exception: the candidate wrote outside/);
  });

  it("breaks off where the shadow has ended for what no gate of the experiment minds", async () => {
    const at = engine(0, record, { running: false, ended_by: "x", buckets: [] });
    const latency = "analysis: {interval: 5ms, metrics: [{name: latency}]}\n";
    await expect(looks(at, latency)).rejects.toThrow(/x, and no gate of this experiment minds/);
  });

  it("judges what was known of the candidate before its first sample", async () => {
    const { spec } = parseSpec("spec.yaml", SPEC_TEXT + QUICK);
    if (spec.kind !== "Experiment") throw new Error("not an experiment");
    const known = [{ kind: "reference", bucket: BUCKET, control_worst: 0.1, candidate_worst: 30 }] as const;
    const signal = new AbortController().signal;
    const options = { samplesFile, signal, known };
    let reason = "";
    for await (const look of runExperiment(engine(0, record).client, spec, options))
      reason = look.judgement.reason;
    expect(reason).toMatch(/numerics: .*30\.0 times the tolerance of the float64 reference/);
    expect(deriveVerdict(parseSpec("spec.yaml", SPEC_TEXT + QUICK) as never, samplesFile).result).toBe(
      "fail",
    );
  });

  it("takes a fault for what it is, though the shadow has ended by it", async () => {
    const fault = { candidate_status: "OPSWAP_E_EXTERNAL" };
    const all = await looks(engine(1, (n) => record(n, fault), { running: false, ended_by: "it failed" }));
    expect(all).toMatchObject([{ action: "rollback" }]);
  });
});
