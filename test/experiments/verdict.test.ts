/** Verdicts: gates in their order, buckets, what follows, and that a stored one is derived again to the bit. */
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import {
  deriveAgain,
  deriveVerdict,
  judge,
  nextAction,
  readExperiment,
  readSamples,
  storeVerdict,
} from "../../ts-client/src/experiments/index.js";
import type { Reference, SafetyEvent, SampleLine } from "../../ts-client/src/experiments/samples.js";
import { BUCKET, HEADER, SPEC_TEXT, sample, samples, spec, writeSamples } from "./samples.js";

const dir = mkdtempSync(path.join(tmpdir(), "ov"));
afterAll(() => rmSync(dir, { recursive: true }));
const file = (name: string) => path.join(dir, name);
const judged = (lines: readonly SampleLine[], more = "") => judge(spec(more), lines);
const reference = (control: number, candidate: number | null): Reference => ({
  kind: "reference",
  bucket: BUCKET,
  control_worst: control,
  candidate_worst: candidate,
});
const event = (): SafetyEvent => ({ kind: "event", bucket: BUCKET, event: "timeout", message: "after 2 s" });

describe("a verdict", () => {
  it("passes an equal candidate", () => {
    expect(judged(samples(2000))).toMatchObject({
      result: "pass",
      buckets: [{ bucket: BUCKET, gate: null }],
    });
  });

  it("fails a slow one, and says by how much at least", () => {
    const found = judged(samples(2000, { slower: 0.05 }));
    expect(found).toMatchObject({ result: "fail", buckets: [{ result: "fail", gate: "latency" }] });
    expect(found.reason).toMatch(/slower by at least 4\.\d\d%/);
  });

  it("fails one that is slow in rare calls, which its mean does not show", () => {
    const rare = samples(4000).map((one, i) =>
      i % 50 === 7 ? { ...one, candidate_ns: 10 * one.candidate_ns } : one,
    );
    const found = judged(rare).buckets[0];
    expect(found).toMatchObject({
      result: "fail",
      gate: "latency",
      reason: expect.stringMatching(/^p99.*ns.* calls/),
    });
    expect(found?.latency?.upper).toBeLessThan(Math.log1p(0.01));
  });

  it("does not blame a candidate for slow calls that control has as well", () => {
    const both = samples(4000).map((one, i) => {
      if (i % 50 === 7) return { ...one, candidate_ns: 10 * one.candidate_ns };
      return i % 50 === 30 ? { ...one, control_ns: 10 * one.control_ns } : one;
    });
    expect(judged(both).result).toBe("pass");
  });

  it("fails one that becomes slow after a long time, in the window in which it did", () => {
    const late = [...samples(20_000), ...samples(1500, { slower: 0.03, seed: 5 })];
    const found = judged(late);
    expect(found.buckets[0]).toMatchObject({
      result: "fail",
      reason: expect.stringMatching(/became slower/),
    });
    expect(found.buckets[0]?.latency?.lower).toBeLessThan(Math.log1p(0.01));
  });

  it("holds where the difference is about the margin, and where there are few samples", () => {
    expect(judged(samples(500, { slower: 0.01 })).result).toBe("inconclusive");
    expect(judged(samples(150)).buckets[0]).toMatchObject({ result: "inconclusive", gate: "latency" });
  });

  it("has no data without traffic", () => {
    expect(judged([])).toMatchObject({ result: "no-data", buckets: [] });
    expect(judged([], `buckets: [${BUCKET}]`)).toMatchObject({
      result: "no-data",
      buckets: [{ result: "no-data" }],
    });
  });

  it("does not pass while a bucket that the spec names has no data", () => {
    const found = judged(samples(2000), "buckets: [T4096 H1024 bfloat16]");
    expect(found).toMatchObject({
      result: "inconclusive",
      reason: expect.stringMatching(/^T4096 .*no call/),
    });
  });

  it("fails for one rare bucket among good ones", () => {
    const rare = samples(1200, { slower: 0.05, seed: 9, bucket: "T1 H1024 bfloat16" });
    const found = judged([...samples(3000), ...rare]);
    expect(found.result).toBe("fail");
    expect(found.buckets.map(({ result }) => result)).toEqual(["pass", "fail"]);
  });

  it("takes wider margins, and none of the gates that it leaves out", () => {
    const wide = "analysis: {metrics: [{name: latency, non_inferior: 10%}]}";
    expect(judged(samples(2000, { slower: 0.05 }), wide).result).toBe("pass");
    expect(judged(samples(2000, { outside: 5, worst: 9 }), wide).result).toBe("pass");
  });

  it("counts samples that were lost, rank by rank", () => {
    const lines = [sample(1), sample(2), sample(5), sample(1, { rank: 1 }), sample(2, { rank: 1 })];
    expect(judged(lines).lost).toBe(2);
  });
});

describe("the safety gate", () => {
  it.each([
    [
      "an error",
      sample(7, { candidate_status: "OPSWAP_E_EXTERNAL" }),
      /sample 7: the candidate returned OPSWAP_E_EXTERNAL/,
    ],
    ["a write outside", sample(7, { candidate_overran: true }), /wrote outside/],
    ["a NaN", sample(7, { became_nonfinite: 1, outside: 1 }), /not finite/],
    ["an event", event(), /timeout: after 2 s/],
  ])("fails at once for %s, whatever the times say", (_what, line, reason) => {
    const found = judged([...samples(2000), line]);
    expect(found.buckets[0]).toMatchObject({
      result: "fail",
      gate: "safety",
      reason: expect.stringMatching(reason),
    });
  });

  it("comes before numerics and latency", () => {
    const found = judged([...samples(2000, { slower: 0.2, outside: 3, worst: 5 }), event()]);
    expect(found.buckets[0]?.gate).toBe("safety");
  });

  it("does not blame the candidate for calls on which control failed", () => {
    const failed = samples(50, {
      control_status: "OPSWAP_E_EXTERNAL",
      candidate_status: "OPSWAP_E_EXTERNAL",
    });
    const found = judged([...samples(2000), ...failed]);
    expect(found).toMatchObject({ result: "pass", buckets: [{ control_failed: 50 }] });
  });
});

describe("the numerics gate", () => {
  it("fails for one element beyond the tolerance", () => {
    const found = judged([...samples(200), sample(201, { outside: 1, worst: 1.2 })]);
    expect(found.buckets[0]).toMatchObject({ result: "fail", gate: "numerics", beyond: 1 });
  });

  it("forgives what control's own noise explains, and no more", () => {
    const noisy = samples(200, { floor_worst: 3, outside: 2, worst: 5.9 });
    expect(judged(noisy).buckets[0]?.gate).not.toBe("numerics");
    expect(judged([...noisy, sample(201, { outside: 2, worst: 6.1 })]).buckets[0]?.gate).toBe("numerics");
  });

  it("fails for infinities, which no noise explains", () => {
    const noisy = samples(200, { floor_worst: 3 });
    for (const worst of [null, 0.2])
      expect(judged([...noisy, sample(201, { outside: 1, worst })]).buckets[0]?.gate).toBe("numerics");
  });

  it("forgives as many samples as failureLimit says", () => {
    const lines = [
      ...samples(2000),
      sample(2001, { outside: 1, worst: 2 }),
      sample(2002, { outside: 1, worst: 2 }),
    ];
    const limit = (count: number) =>
      `analysis: {metrics: [{name: safety}, {name: numerics, failureLimit: ${count}}, {name: latency}]}`;
    expect(judged(lines, limit(1)).result).toBe("fail");
    expect(judged(lines, limit(2)).result).toBe("pass");
  });

  it("fails a candidate that is worse against the float64 reference than control", () => {
    expect(judged([...samples(2000), reference(0.6, 1.1)]).result).toBe("pass");
    expect(judged([...samples(2000), reference(0.5, 1.1)]).buckets[0]?.gate).toBe("numerics");
    expect(judged([...samples(2000), reference(0.5, null)]).buckets[0]?.gate).toBe("numerics");
  });

  it("holds, and blames nobody, where control itself is wrong", () => {
    const found = judged([...samples(2000, { outside: 4, worst: 8 }), reference(8, 0.2)]);
    expect(found.buckets[0]).toMatchObject({
      result: "inconclusive",
      reason: expect.stringMatching(/control itself/),
    });
  });

  it("does not pass before a hundred outputs were compared", () => {
    expect(judged(samples(90)).buckets[0]).toMatchObject({ result: "inconclusive", gate: "numerics" });
  });
});

describe("what follows", () => {
  it("is a rollback or a pause for a failure, and a promotion for a pass alone", () => {
    expect(nextAction("fail", spec(), 0)).toBe("rollback");
    expect(nextAction("fail", spec("on_fail: pause"), 0)).toBe("pause");
    expect(nextAction("pass", spec(), 0)).toBe("promotable");
  });

  it.each(["inconclusive", "no-data"] as const)("%s holds, and ends with its time", (result) => {
    expect(nextAction(result, spec(), 1e12)).toBe("hold");
    const timed = spec("analysis: {timeout: 1h}");
    expect(nextAction(result, timed, 3_599_999)).toBe("hold");
    expect(nextAction(result, timed, 3_600_000)).toBe("end");
  });
});

describe("a stored verdict", () => {
  writeFileSync(file("spec.yaml"), SPEC_TEXT);
  writeSamples(file("a.jsonl"), [...samples(1500, { slower: 0.013 }), reference(0.2, 0.3)]);
  const read = readExperiment(file("spec.yaml"));
  const verdict = deriveVerdict(read, file("a.jsonl"));
  const place = storeVerdict(file("verdicts"), verdict, read.text, file("a.jsonl"));

  it("is derived again to the bit, by id and by file, and stored once", () => {
    for (const named of [verdict.id, place, path.join(place, "verdict.json")])
      expect(deriveAgain(file("verdicts"), named)).toMatchObject({ id: verdict.id, differences: [] });
    expect(storeVerdict(file("verdicts"), verdict, read.text, file("a.jsonl"))).toBe(place);
  });

  it("names what does not follow, to the last bit", () => {
    const stored = path.join(place, "verdict.json");
    const text = readFileSync(stored, "utf8");
    const changed = JSON.parse(text);
    const { lower } = changed.buckets[0].latency;
    changed.buckets[0].latency.lower = lower + Number.EPSILON * Math.abs(lower);
    changed.reason = "looks good";
    writeFileSync(stored, JSON.stringify(changed));
    const found = deriveAgain(file("verdicts"), verdict.id);
    expect(found.differences.map((one) => one.path)).toEqual(["reason", "buckets.0.latency.lower"]);
    writeFileSync(stored, text);
  });

  it("sees that its samples were changed", () => {
    appendFileSync(path.join(place, "samples.jsonl"), `${JSON.stringify(event())}\n`);
    const changed = deriveAgain(file("verdicts"), verdict.id).differences.map((one) => one.path);
    expect(changed).toEqual(expect.arrayContaining(["id", "samples.sha256", "buckets.0.gate"]));
  });

  it("is refused where it is not there, or no verdict", () => {
    expect(() => deriveAgain(file("verdicts"), "0123456789abcdef")).toThrow(/no verdict 0123456789abcdef/);
    expect(() => deriveAgain(file("verdicts"), file("spec.yaml"))).toThrow(/no stored verdict/);
    writeFileSync(path.join(place, "verdict.json"), "{}");
    expect(() => deriveAgain(file("verdicts"), verdict.id)).toThrow(/verdict\.json cannot be read: kind/);
  });
});

describe("a file of samples", () => {
  const write = (text: string) => {
    writeFileSync(file("bad.jsonl"), text);
    return () => [...readSamples(file("bad.jsonl")).lines];
  };
  const head = `${JSON.stringify(HEADER)}\n`;
  const good = `${JSON.stringify(sample(1))}\n`;

  it("needs no more than what was measured", () => {
    const least = {
      kind: "sample",
      bucket: BUCKET,
      sequence: 1,
      candidate_first: true,
      control_ns: 1,
      candidate_ns: 2,
    };
    expect(write(`${head}${JSON.stringify(least)}\n`)()).toMatchObject([
      { candidate_status: "OPSWAP_OK", worst: 0, layer: 0 },
    ]);
  });

  it.each([
    ["nothing", "", /line 1/],
    ["no header", good, /line 1: /],
    ["a newer schema", head.replace('"schema":1', '"schema":2'), /line 1: schema/],
    ["a line that is no JSON", `${head}${good}nonsense\n`, /line 3/],
    ["a line of another kind", `${head}{"kind":"tale"}\n`, /line 2: kind/],
    ["a negative time", head + good.replace('"control_ns":1000000', '"control_ns":-1'), /line 2: control_ns/],
    ["a cut line", head + good + good.slice(0, 40), /line 3: it is cut/],
    ["a line without an end", head + "x".repeat(20_000), /line 2: it is over 16384 bytes/],
  ])("with %s is refused with its line", (_what, text, message) => {
    expect(write(text)).toThrow(
      expect.objectContaining({ code: "OPSWAP_E_SAMPLES", message: expect.stringMatching(message) }),
    );
  });

  it("of another op, control or candidate is refused", () => {
    writeFileSync(file("s.yaml"), SPEC_TEXT);
    for (const field of ["op", "control", "candidate"]) {
      writeSamples(file("other.jsonl"), samples(3), { ...HEADER, [field]: "another" });
      expect(() => deriveVerdict(readExperiment(file("s.yaml")), file("other.jsonl"))).toThrow(
        `its ${field} is another`,
      );
    }
  });
});
