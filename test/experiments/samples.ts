/** Sample streams for tests: equal kernels, and what is planted in them. */
import { writeFileSync } from "node:fs";
import { type ExperimentSpec, parseSpec } from "../../ts-client/src/experiments/index.js";
import { OK, type Sample, type SampleLine } from "../../ts-client/src/experiments/samples.js";
import { normal } from "../bench/_series.mjs";

export const BUCKET = "T16 H1024 bfloat16";
export const SPEC_TEXT = `kind: Experiment
schema: 1
name: test
op: rms_norm
control: ref
candidate: cpu
`;

/** A spec with lines added to the least one. */
export function spec(more = ""): ExperimentSpec {
  const read = parseSpec("spec.yaml", SPEC_TEXT + more);
  if (read.spec.kind !== "Experiment") throw new Error("not an experiment");
  return read.spec;
}

export function sample(sequence: number, more: Partial<Sample> = {}): Sample {
  return {
    kind: "sample",
    bucket: BUCKET,
    rank: 0,
    sequence,
    time_us: 0,
    step: 0,
    epoch: 0,
    layer: 0,
    candidate_first: sequence % 2 === 0,
    control_ns: 1_000_000,
    candidate_ns: 1_000_000,
    control_status: OK,
    candidate_status: OK,
    candidate_overran: false,
    elements: 4608,
    differing: 0,
    outside: 0,
    became_nonfinite: 0,
    max_abs: 0,
    worst: 0,
    floor_differing: 0,
    floor_worst: 0,
    ...more,
  };
}

/** `count` samples whose candidate is slower by `slower`, with a spread of 2%. */
export function samples(
  count: number,
  { slower = 0, seed = 1, ...more }: Partial<Sample> & { slower?: number; seed?: number } = {},
): Sample[] {
  const noise = normal(seed);
  return Array.from({ length: count }, (_, i) =>
    sample(i + 1, { candidate_ns: Math.round(1_000_000 * (1 + slower) * Math.exp(0.02 * noise())), ...more }),
  );
}

export const HEADER = {
  kind: "header",
  schema: 1,
  op: "rms_norm",
  op_hash: "0",
  control: "ref",
  candidate: "cpu",
  build: "b",
};

export function writeSamples(file: string, lines: readonly SampleLine[], header: object = HEADER): void {
  writeFileSync(file, [header, ...lines].map((line) => `${JSON.stringify(line)}\n`).join(""));
}
