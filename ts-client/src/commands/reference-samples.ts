/** What replays have found against the float64 reference, as lines of a stream of samples (docs/ab-verdicts.md). */
import { appendFileSync } from "node:fs";
import { type Reference, readSamples, sampleText } from "../experiments/samples.js";
import { OpswapError } from "../types/errors.js";
import type { ReplayReport } from "../view/replay-lines.js";

/** Adds a line per report to the stream of the same op, control and candidate. */
export function appendReferences(
  file: string,
  reports: readonly ReplayReport[],
  [control = "", candidate = ""]: readonly string[],
): void {
  const { header } = readSamples(file);
  const wanted = [header.op, header.control, header.candidate].join(", ");
  for (const { op } of reports) {
    const got = [op, control, candidate].join(", ");
    if (got !== wanted)
      throw new OpswapError("OPSWAP_E_SAMPLES", `${file} is of ${wanted}, and this was a replay of ${got}`);
  }
  const lines = reports.map((report) => sampleText(referenceOf(report, control, candidate)));
  appendFileSync(file, lines.join(""));
}

/** The largest difference over all outputs; infinity becomes null, as JSON writes it. */
function referenceOf({ arms, bucket }: ReplayReport, control: string, candidate: string): Reference {
  const worst = (impl: string) =>
    Math.max(0, ...arms.filter((arm) => arm.impl === impl).map(({ share }) => share));
  return { kind: "reference", bucket, control_worst: worst(control), candidate_worst: worst(candidate) };
}
