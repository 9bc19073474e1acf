/** Estimates how long a conversion takes, from a sample. */
import { closeSync, existsSync, fsyncSync, openSync, unlinkSync } from "node:fs";
import path from "node:path";
import type { Plan, PlannedFile, PlannedTensor } from "../plan/types.js";
import { sum } from "../sum.js";
import { convertTensor, type WorkContext } from "./convert-tensor.js";
import { defaultThreads, workContextFor } from "./run.js";

/** What a sample of the conversion says about all of it. Files that lie in the page cache read faster than others. */
export interface Estimate {
  seconds: number;
  bytes_per_second: number;
  sampled_bytes: number;
}

const SAMPLE_BYTES = 192 << 20;

/**
 * Converts a sample of the source to an unnamed file on the output's disk, with its sync, and says how long all would
 * take at that rate.
 */
export async function estimate(plan: Plan, output: string, threads = defaultThreads()): Promise<Estimate> {
  const sample = sampleOf(plan);
  const target = unnamedFile(existing(path.resolve(output)));
  try {
    const started = performance.now();
    const context: WorkContext = { ...workContextFor(plan, threads), nonfinite: "zero" };
    for (const { file, tensor } of sample) await convertOne(file, tensor, target, context);
    fsyncSync(target);
    const seconds = (performance.now() - started) / 1000;
    const sampled = sum(sample, ({ tensor: { source } }) => source.end - source.begin);
    const rate = sampled / seconds;
    return { seconds: plan.sourceBytes / rate, bytes_per_second: rate, sampled_bytes: sampled };
  } finally {
    closeSync(target);
  }
}

/** Tensors from all over the model until there are enough. */
function sampleOf(plan: Plan): { file: PlannedFile; tensor: PlannedTensor }[] {
  const all = plan.files.flatMap((file) => file.tensors.map((tensor) => ({ file, tensor })));
  const step = Math.max(1, Math.floor(all.length / 16));
  const spread = Array.from({ length: step }, (_, start) =>
    all.filter((_one, i) => i % step === start),
  ).flat();
  let bytes = 0;
  return spread.filter(({ tensor: { source } }) => {
    const wanted = bytes < SAMPLE_BYTES;
    if (wanted) bytes += source.end - source.begin;
    return wanted;
  });
}

async function convertOne(
  file: PlannedFile,
  tensor: PlannedTensor,
  target: number,
  context: WorkContext,
): Promise<void> {
  const source = openSync(tensor.from.path, "r");
  try {
    await convertTensor("write", file, tensor, { source, target }, context);
  } finally {
    closeSync(source);
  }
}

function existing(folder: string): string {
  return existsSync(folder) ? folder : existing(path.dirname(folder));
}

/** Gone with its descriptor, whatever happens. */
function unnamedFile(folder: string): number {
  const name = path.join(folder, `.opswap-estimate-${process.pid}`);
  const fd = openSync(name, "wx+");
  unlinkSync(name);
  return fd;
}
