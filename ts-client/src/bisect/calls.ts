/** In which calls an op differs from the yardstick: both behind each call of the engine, and the inputs kept where it may. */
import { randomBytes } from "node:crypto";
import { readdirSync, rmSync, statSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { OpswapClient } from "../client/index.js";
import { unread } from "../experiments/live/unread-records.js";
import type { RankRecording, ShadowRecord } from "../generated/messages.js";
import { readRecording } from "../tensorfile/index.js";
import { asRefusal } from "../types/refusal.js";

const ALL = { share_of_calls: 1, first_of_bucket: 1 };
const LIMITS = { most_of_bucket: 1024, most_bytes: 512 << 20 };

/** One call on which both ran. */
export type SeenCall = Pick<
  ShadowRecord,
  "rank" | "step" | "layer" | "bucket" | "elements" | "outside" | "became_nonfinite" | "max_abs"
> & { status: string; worst: number };

export interface Located {
  op: string;
  /** Calls of the prompt that were compared, and those of them with an element beyond the op's tolerance. */
  compared: number;
  wrong: number;
  /** By shape bucket, the worst first. */
  buckets: { bucket: string; compared: number; wrong: number; worst: number }[];
  /** The call that is furthest off; null where nothing was compared. */
  worst: SeenCall | null;
  /** The recorded inputs of the call that is furthest off among the recorded ones. */
  recorded: (SeenCall & { file: string }) | null;
  /** Why something is not there. */
  notes: string[];
}

/** Watches `op` while `answer` asks for the prompt once more; nothing that is served changes. */
export async function locate(
  client: OpswapClient,
  { op, now, against }: { op: string; now: string; against: string },
  answer: () => Promise<unknown>,
): Promise<Located> {
  const salt = randomBytes(6).readUIntBE(0, 6);
  const notes: string[] = [];
  const note = (what: string) => (thrown: unknown) => {
    notes.push(`${what}: ${asRefusal(thrown).message}`);
  };
  const tried = (asked: Promise<unknown>, otherwise: string) =>
    asked
      .then(() => true)
      .catch((thrown: unknown) => {
        note(otherwise)(thrown);
        return false;
      });
  const began = Date.now();
  const arms = { op, control: against, candidate: now, salt, ...ALL, share_of_time: 1 };
  const compares = await tried(client.ask("shadow_start", arms), "no calls are compared");
  const limits = { op, salt, ...ALL, ...LIMITS };
  const records = await tried(client.ask("record_start", limits), "no inputs are kept");
  try {
    await answer();
  } finally {
    if (compares) await client.ask("shadow_stop", { op, salt }).catch(note("the shadow goes on"));
    if (records) await client.ask("record_stop", { op, salt }).catch(note("the recording goes on"));
  }
  const ended = Date.now();
  const calls = compares ? await comparedCalls(client, op, salt) : [];
  const files = records
    ? await writtenFiles(client, { op, salt, began, ended }).catch(note("no recording is read"))
    : undefined;
  if (compares && calls.length === 0) notes.push("no call was compared; tensors on a device cannot be yet");
  return { op, ...summary(calls), recorded: recordedOf(calls, files ?? new Map()), notes };
}

/** What the shadow of this salt saw, the worst first. */
async function comparedCalls(client: OpswapClient, op: string, salt: number): Promise<SeenCall[]> {
  const { ranks } = await client.ask("shadow_status", { op });
  if (ranks.some((rank) => rank.salt !== salt)) return [];
  const found: SeenCall[] = [];
  for await (const page of unread(client, op, [])) found.push(...page.map(seenCall));
  return found.sort((a, b) => b.worst - a.worst || b.max_abs - a.max_abs);
}

function seenCall(record: ShadowRecord): SeenCall {
  const { rank, step, layer, bucket, elements, outside, became_nonfinite, max_abs } = record;
  const failed = [record.candidate_status, record.control_status].find((status) => status !== "OPSWAP_OK");
  const worst = failed !== undefined || became_nonfinite > 0 ? Infinity : record.worst;
  return {
    rank,
    step,
    layer,
    bucket,
    elements,
    outside,
    became_nonfinite,
    max_abs,
    worst,
    status: failed ?? "OPSWAP_OK",
  };
}

const isWrong = ({ worst }: SeenCall) => worst > 1;

function summary(calls: readonly SeenCall[]): Pick<Located, "compared" | "wrong" | "buckets" | "worst"> {
  const names = [...new Set(calls.map(({ bucket }) => bucket))];
  const buckets = names.map((bucket) => {
    const of = calls.filter((call) => call.bucket === bucket);
    return { bucket, compared: of.length, wrong: of.filter(isWrong).length, worst: of[0]?.worst ?? 0 };
  });
  return { compared: calls.length, wrong: calls.filter(isWrong).length, buckets, worst: calls[0] ?? null };
}

const keyOf = ({ rank, step, layer }: Pick<SeenCall, "rank" | "step" | "layer">) =>
  `${rank} ${step} ${layer}`;

/** Of the files of these calls all but one are removed again: they hold what users asked. */
function recordedOf(calls: readonly SeenCall[], files: ReadonlyMap<string, string>): Located["recorded"] {
  const there = calls.flatMap((call) => {
    const file = files.get(keyOf(call));
    return file === undefined ? [] : [{ ...call, file }];
  });
  for (const { file } of there.slice(1)) rmSync(file, { force: true });
  return there[0] ?? null;
}

/** One recording: of an op, by one start of it. */
interface Kept {
  op: string;
  salt: number;
  /** In ms since 1970. */
  began: number;
  ended: number;
}

/** Its files, by rank, step and layer, once they are on the disk. */
async function writtenFiles(client: OpswapClient, kept: Kept): Promise<Map<string, string>> {
  let ranks: RankRecording[] = [];
  do {
    if (ranks.length > 0) await sleep(20);
    ranks = (await client.ask("record_status", { op: kept.op })).ranks.filter(
      ({ salt }) => salt === kept.salt,
    );
  } while (ranks.some((rank) => rank.waiting_bytes > 0));
  const folders = new Set(ranks.filter(({ files }) => files > 0).map(({ folder }) => folder));
  return new Map([...folders].flatMap((folder) => inFolder(folder, kept)));
}

/** A file of another time or op is none of them. */
function inFolder(folder: string, { op, began, ended }: Kept): [string, string][] {
  return readdirSync(folder)
    .filter((name) => name.startsWith(`${op}-`) && name.endsWith(".safetensors"))
    .map((name) => path.join(folder, name))
    .filter((file) => statSync(file).mtimeMs >= began - 1_000) // a file system may keep whole seconds
    .flatMap((file) => {
      const recording = readRecording(file);
      const isOf = recording.op === op && recording.time >= began && recording.time <= ended;
      return isOf ? [[keyOf(recording), file] as [string, string]] : [];
    });
}
