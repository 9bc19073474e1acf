/** An experiment on a running engine: its shadow is started, read and judged until something follows from it. */
import { randomBytes } from "node:crypto";
import { appendFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { OpswapClient } from "../../client/types.js";
import type { ShadowRecord } from "../../generated/messages.js";
import { sampleOf, sampleText } from "../samples.js";
import type { ExperimentSpec } from "../spec/experiment.js";
import { type Action, nextAction } from "../verdict/action.js";
import { Judge, type Judgement } from "../verdict/judge.js";
import { streamHeader } from "./stream-header.js";

/** What one look at the samples gave. */
export interface Look {
  elapsedMs: number;
  samples: number;
  judgement: Judgement;
  /** What follows; all but `hold` is the last look. */
  action: Action;
}

export interface RunOptions {
  /** Where the samples go, a line each; the file is made anew. */
  samplesFile: string;
  /** Ends the run at the next look; what was seen until then is judged. */
  signal: AbortSignal;
}

/**
 * Looks every `analysis.interval`. The shadow is stopped when the caller has had the last look, or leaves before it. On an engine that
 * is lost, or whose shadow was ended by someone else, it throws what the engine's client throws.
 */
export async function* runExperiment(
  client: OpswapClient,
  spec: ExperimentSpec,
  { samplesFile, signal }: RunOptions,
): AsyncGenerator<Look> {
  const salt = randomBytes(6).readUIntBE(0, 6);
  const { op, control, candidate } = spec;
  const header = await streamHeader(client, { op, control, candidate, salt });
  writeFileSync(samplesFile, sampleText(header), { mode: 0o600 });
  await client.ask("shadow_start", request(spec, salt));
  const [began, judge] = [Date.now(), new Judge(spec)];
  const { initialDelay, interval } = spec.analysis;
  const after: number[] = [];
  let [samples, action]: [number, Action] = [0, "hold"];
  try {
    await pause(initialDelay, signal);
    while (action === "hold") {
      await pause(interval, signal);
      for await (const record of unread(client, op, after)) {
        const sample = sampleOf(record);
        appendFileSync(samplesFile, sampleText(sample));
        judge.add(sample);
        samples += 1;
      }
      const [judgement, elapsedMs] = [judge.judgement(), Date.now() - began];
      action = nextAction(judgement.result, spec, elapsedMs);
      if (action === "hold" && signal.aborted) action = "end";
      yield { elapsedMs, samples, judgement, action };
    }
  } finally {
    await client.ask("shadow_stop", { op });
  }
}

function request({ op, control, candidate, sampling }: ExperimentSpec, salt: number) {
  return {
    ...{ op, control, candidate, salt },
    share_of_calls: sampling.share,
    share_of_time: sampling.budget,
    first_of_bucket: sampling.first_of_bucket,
    most_of_bucket: sampling.most_of_bucket,
  };
}

/** What was recorded since the last time, in order on each rank; `after` is kept by rank. */
async function* unread(client: OpswapClient, op: string, after: number[]): AsyncGenerator<ShadowRecord> {
  for (;;) {
    const { records } = await client.ask("shadow_read", {
      op,
      after: Array.from(after, (seen) => seen ?? 0),
    });
    if (records.length === 0) return;
    for (const record of records) {
      after[record.rank] = record.sequence;
      yield record;
    }
  }
}

/** Waits; an abort ends the wait. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}
