/** The verdict of a run: derived from its samples, stored, and told in the audit. */
import path from "node:path";
import { deriveVerdict, storeVerdict } from "../../experiments/index.js";
import { inRun, type Run, specOfRun } from "../../experiments/store/index.js";
import type { Verdict } from "../../experiments/verdict/store.js";
import { OpswapError } from "../../types/errors.js";
import { asRefusal } from "../../types/refusal.js";
import type { Io } from "../context.js";
import { keep } from "../recorded.js";
import { verdictsFolder } from "./judge.js";

const MOST_WHY = 1_000;

/** Kept with its inputs; where that fails the samples stay where they are. */
export function storedVerdict(folder: string, run: Run): { verdict: Verdict; place: string } {
  const samples = inRun(folder, run, "samples.jsonl");
  const read = specOfRun(folder, run);
  try {
    const verdict = deriveVerdict(read, samples);
    return { verdict, place: storeVerdict(verdictsFolder(), verdict, read.text, samples) };
  } catch (thrown) {
    const { code, message } = asRefusal(thrown);
    const again = `\`opswap ab judge ${path.join(path.dirname(samples), "spec.yaml")} --samples ${samples}\``;
    throw new OpswapError(code, `the verdict is not stored: ${message}`, {
      remedy: `${again} when that is mended`,
    });
  }
}

export async function tellVerdict(io: Io, folder: string, run: Run, verdict: Verdict): Promise<void> {
  const { name, ticket } = specOfRun(folder, run).spec;
  const about = { why: verdict.reason.slice(0, MOST_WHY), ticket: ticket ?? null, verdict: verdict.id };
  const what = { action: `ab verdict ${name}: ${verdict.result}`, outcome: "done" as const };
  await keep(io, { ...what, ...about, engine: run.engine, build: verdict.samples.build });
}
