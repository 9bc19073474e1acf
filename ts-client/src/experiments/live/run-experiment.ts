/** An experiment on a running engine: its shadow is started, read and judged until something follows from it. */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { OpswapClient } from "../../client/types.js";
import type { RankShadow } from "../../generated/messages.js";
import { OpswapError } from "../../types/errors.js";
import { type SampleLine, sampleText } from "../samples.js";
import type { ExperimentSpec } from "../spec/experiment.js";
import { type Action, nextAction } from "../verdict/action.js";
import type { Judgement } from "../verdict/judge.js";
import { Reading } from "./reading.js";
import { streamHeader } from "./stream-header.js";

/** While a candidate serves its samples are read so often, and a failure does not wait for the next look. */
const READ_MS = 50;

/** What one look at the samples gave. */
export interface Look {
  elapsedMs: number;
  /** Unix time in ms of the judgement. */
  decided: number;
  samples: number;
  /** Of the latest sample that was read. */
  lastStep: number;
  judgement: Judgement;
  /** The shadow, as each rank told of it before its samples were read. */
  ranks: RankShadow[];
  /** What follows; all but `hold` is the last look. */
  action: Action;
}

export interface RunOptions {
  /** Where the samples go, a line each; the file is made anew. */
  samplesFile: string;
  /** Ends the run at the next look; what was seen until then is judged. */
  signal: AbortSignal;
  /** Of the choice of calls, and what tells this shadow from others; by chance where it is left out. */
  salt?: number | undefined;
  /** What was seen of the candidate elsewhere, such as in quarantine: behind the header, before all samples. */
  known?: readonly SampleLine[] | undefined;
  /** The candidate serves: it is looked at as soon as it fails. */
  isServing?: boolean | undefined;
  /** Is waited for once the shadow runs, before the first look. */
  started?: (() => Promise<void>) | undefined;
}

/**
 * Looks every `analysis.interval`, and at once where a candidate that serves fails; the shadow is stopped when the caller has had the last look, or leaves before it. Throws where the engine
 * is lost, where its shadow is not this experiment's any more, and what `started` throws.
 */
export async function* runExperiment(
  client: OpswapClient,
  spec: ExperimentSpec,
  options: RunOptions,
): AsyncGenerator<Look> {
  const { samplesFile, started = async () => {} } = options;
  const salt = options.salt ?? randomBytes(6).readUIntBE(0, 6);
  const { op, control, candidate } = spec;
  const header = await streamHeader(client, { op, control, candidate, salt });
  writeFileSync(samplesFile, sampleText(header), { mode: 0o600 });
  let isWhole = false;
  try {
    await client.ask("shadow_start", request(spec, salt));
    await started();
    yield* looks(client, spec, salt, options);
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
  { samplesFile, signal, isServing = false, known = [] }: RunOptions,
): AsyncGenerator<Look> {
  const { initialDelay, interval } = spec.analysis;
  // No clock that somebody sets.
  const [began, reading] = [performance.now(), new Reading(client, spec, samplesFile)];
  reading.take(known);
  await pause(initialDelay, signal);
  let due = performance.now() + interval;
  for (let action: Action = "hold"; action === "hold"; ) {
    await pause(isServing ? Math.min(interval, READ_MS) : interval, signal);
    const ranks = await shadowOf(client, spec, salt);
    await reading.read(ranks);
    const ended = ranks.find(({ ended_by }) => ended_by !== "");
    if (ended && reading.judgement().result !== "fail") reading.take([faultOf(ended)]);
    const [judgement, now] = [reading.judgement(), performance.now()];
    const isFailing = judgement.result === "fail";
    if (isServing && now < due && !isFailing && !ended && !signal.aborted) continue;
    due = now + interval;
    action = nextAction(judgement.result, spec, now - began);
    if (action === "hold" && ended)
      throw brokenOff(spec, `${ended.ended_by}, and no gate of this experiment minds`);
    if (action === "hold" && signal.aborted) action = "end";
    const { samples, lastStep } = reading;
    yield { elapsedMs: now - began, decided: Date.now(), samples, lastStep, judgement, ranks, action };
  }
}

/** The shadow on every rank. One that the library ended says why; any other end is refused. */
async function shadowOf(client: OpswapClient, spec: ExperimentSpec, salt: number): Promise<RankShadow[]> {
  const { ranks } = await client.ask("shadow_status", { op: spec.op });
  if (ranks.some((rank) => rank.salt !== salt)) throw brokenOff(spec, "another one was started in its place");
  if (ranks.some((rank) => !rank.running && rank.ended_by === ""))
    throw brokenOff(spec, "someone else stopped it");
  return ranks;
}

/** The library ends a shadow by itself only for a fault of the candidate; its record may have been overrun. */
function faultOf({ ended_by, buckets }: RankShadow): SampleLine {
  const bucket = buckets.find(({ chosen }) => chosen > 0)?.bucket ?? "of no known bucket";
  return { kind: "event", bucket, event: "exception", message: ended_by };
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
