/** How much of what was sampled has to pass: `analysis.coverage`. */
import { expect, it } from "vitest";
import { judge } from "../../ts-client/src/experiments/index.js";
import type { SampleLine } from "../../ts-client/src/experiments/samples.js";
import { BUCKET, samples, spec } from "./samples.js";

const judged = (lines: readonly SampleLine[], more: string) => judge(spec(more), lines);

it("passes by what covers enough of the samples, unless a named bucket is open or any fails", () => {
  const rare = samples(20).map((line) => ({ ...line, bucket: "T1 H1024 bfloat16" }));
  const lines = [...samples(2000), ...rare];
  const covers = (share: string, more = "") =>
    judged(lines, `analysis: {coverage: ${share}}\n${more}`).result;
  // 2000 of 2020 samples are 99.01%.
  expect([covers("100%"), covers("99.1%"), covers("99%")]).toEqual(["inconclusive", "inconclusive", "pass"]);
  expect(covers("99%", "buckets: [T1 H1024 bfloat16]\n")).toBe("inconclusive");
  const bad = lines.map((line) => (line.bucket === BUCKET ? line : { ...line, outside: 1, worst: 9 }));
  expect(judged(bad, "analysis: {coverage: 50%}\n").result).toBe("fail");
});
