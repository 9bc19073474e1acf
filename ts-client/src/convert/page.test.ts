import { expect, it } from "vitest";
import { pageOf } from "./page.js";
import { DEFAULTS } from "./plan.js";
import type { Report } from "./report.js";
import type { TensorReport } from "./tensor-report.js";

function tensor(name: string, sqnr: number | null): TensorReport {
  const quality = {
    sqnr_db: sqnr,
    signal: 1,
    noise: 1,
    max_error: 0.5,
    smallest_scale: 0.1,
    largest_scale: 0.2,
    zeros: 3,
    flushed_to_zero: 4,
    at_limit: 5,
    zero_blocks: 0,
  };
  return {
    name,
    dtype: "BF16",
    shape: [2, 2],
    bytes: 8,
    action: "fp8_block128",
    why: "linear layer",
    output_dtype: "F8_E4M3",
    output_bytes: 8,
    nonfinite: 0,
    source_digest: "",
    data_digest: "",
    scale_digest: "",
    quality,
  };
}

function report(tensors: TensorReport[]): Report {
  return {
    tool: { name: "opswap", version: "0" },
    layout: { id: "fp8_block128", version: 1 },
    options: { ...DEFAULTS, keep: [], quantize: [], scales: "amax" },
    fingerprint: "",
    digest_method: "",
    source: { files: [], digest: "aa" },
    output: { files: [], digest: "bb" },
    totals: { tensors: 2, quantized: 2, source_bytes: 16, output_bytes: 8, sqnr_db: 31.5, nonfinite: 0 },
    worst: [{ name: "b", sqnr_db: 20, max_error: 0.5 }],
    tensors,
  };
}

it("has a dot for each tensor that lost something, and the worst first", () => {
  const page = pageOf(
    report([tensor("m.0.a.weight", 31), tensor("m.7.b.weight", 20), tensor("m.3.c.weight", null)]),
  );
  expect(page.match(/<circle /g)).toHaveLength(2);
  const worst = page.slice(page.indexOf("The worst"), page.indexOf("Every quantised"));
  expect(worst).toContain("m.7.b.weight");
  expect(worst).not.toContain("m.0.a.weight");
  expect(page).not.toMatch(/NaN|undefined|Infinity/);
});

it("shows small differences on a fine scale, and large ones on a coarse one", () => {
  const labels = (...db: number[]) => {
    const page = pageOf(report(db.map((value, i) => tensor(`m.${i}.a.weight`, value))));
    return [...page.matchAll(/text-anchor="end">([\d.]+)</g)].map(([, label]) => label);
  };
  expect(labels(31.52, 31.6)).toEqual(["31.45", "31.50", "31.55", "31.60", "31.65", "31.70"]);
  expect(labels(11, 31)).toEqual(["10", "15", "20", "25", "30", "35"]);
  expect(labels(20).length).toBeGreaterThan(2);
});

it("takes no markup from names", () => {
  const page = pageOf(report([tensor("<script>alert(1)</script>.weight", 31)]));
  expect(page).not.toContain("<script>");
});

it("stands without a tensor that lost anything", () => {
  expect(pageOf(report([]))).toContain("Nothing was lost");
});
