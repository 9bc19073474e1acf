/** An experiment on a running engine: its shadow is started, read and judged until something follows from it. */
import { randomBytes } from "node:crypto";
import { appendFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { OpswapClient } from "../../client/types.js";
import { OpswapError } from "../../types/errors.js";
import { sampleOf, sampleText } from "../samples.js";
import type { ExperimentSpec } from "../spec/experiment.js";
import { type Action, nextAction } from "../verdict/action.js";
import { Judge, type Judgement } from "../verdict/judge.js";
import { streamHeader } from "./stream-header.js";
import { unread } from "./unread-records.js";

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
  /** Is waited for once the shadow runs, before the first look. */
  started?: (() => Promise<void>) | undefined;
}

/**
 * Looks every `analysis.interval`; the shadow is stopped when the caller has had the last look, or leaves before it. Throws where the engine
 * is lost, where its shadow is not this experiment's any more, and what `started` throws.
 */
export async function* runExperiment(
  client: OpswapClient,
  spec: ExperimentSpec,
  { samplesFile, signal, started = async () => {} }: RunOptions,
): AsyncGenerator<Look> {
  const salt = randomBytes(6).readUIntBE(0, 6);
  const { op, control, candidate } = spec;
  const header = await streamHeader(client, { op, control, candidate, salt });
  writeFileSync(samplesFile, sampleText(header), { mode: 0o600 });
  let isWhole = false;
  try {
    await client.ask("shadow_start", request(spec, salt));
    await started();
    yield* looks(client, spec, salt, { samplesFile, signal });
    isWhole = true;
  } finally {
    const stopped = client.ask("shadow_stop", { op, salt });
    // What went wrong before says more.
    await (isWhole ? stopped : stopped.catch(() => {}));
  }
}

async function* looks(
  client: OpswapClient,
  spec: ExperimentSpec,
  salt: number,
  { samplesFile, signal }: RunOptions,
): AsyncGenerator<Look> {
  const [began, judge] = [Date.now(), new Judge(spec)];
  const after: number[] = [];
  let [samples, action]: [number, Action] = [0, "hold"];
  await pause(spec.analysis.initialDelay, signal);
  while (action === "hold") {
    await pause(spec.analysis.interval, signal);
    const goesOn = await isRunning(client, spec, salt);
    for await (const record of unread(client, spec.op, after)) {
      const sample = sampleOf(record);
      appendFileSync(samplesFile, sampleText(sample));
      judge.add(sample);
      samples += 1;
    }
    const [judgement, elapsedMs] = [judge.judgement(), Date.now() - began];
    action = nextAction(judgement.result, spec, elapsedMs);
    if (action === "hold" && !goesOn) throw brokenOff(spec, "it ended by itself, and no gate says why");
    if (action === "hold" && signal.aborted) action = "end";
    yield { elapsedMs, samples, judgement, action };
  }
}

/** Whether calls are still chosen on every rank. One that the library ended has a reason in its last records; any other end is refused. */
async function isRunning(client: OpswapClient, spec: ExperimentSpec, salt: number): Promise<boolean> {
  const { ranks } = await client.ask("shadow_status", { op: spec.op });
  if (ranks.some((rank) => rank.salt !== salt)) throw brokenOff(spec, "another one was started in its place");
  if (ranks.some((rank) => !rank.running && rank.ended_by === ""))
    throw brokenOff(spec, "someone else stopped it");
  return ranks.every((rank) => rank.running);
}

function brokenOff({ name, op }: ExperimentSpec, why: string): OpswapError {
  return new OpswapError("OPSWAP_E_SAMPLES", `experiment ${name}: its shadow of ${op} is gone: ${why}`, {
    remedy: "run it again when nobody else works on this op",
  });
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

/** Waits; an abort ends the wait. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}
