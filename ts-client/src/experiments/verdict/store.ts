/** Verdicts on disk: a folder each, with the spec and the samples that it follows from. */
import { createHash } from "node:crypto";
import {
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { z } from "zod";
import { syncFolder } from "../../convert/run/staging.js";
import { OpswapError } from "../../types/errors.js";
import { differences } from "../differences.js";
import { readSamples, type SampleHeader } from "../samples.js";
import type { ExperimentSpec } from "../spec/experiment.js";
import { type ReadSpec, readExperiment } from "../spec/read-file.js";
import { RESULTS } from "./bucket.js";
import { type Judgement, judge } from "./judge.js";

const SAMPLES = "samples.jsonl";
const VERDICT = "verdict.json";
const ID = /^[0-9a-f]{16}$/;
const MOST_VERDICT_BYTES = 16 << 20;

/** What a verdict follows from, and what it says. */
export interface Verdict extends Judgement {
  kind: "Verdict";
  schema: 1;
  /** Of spec and samples: the same inputs have the same id. */
  id: string;
  /** The spec's file, its name in this folder, and its digest. */
  spec: { name: string; file: string; sha256: string };
  samples: { sha256: string; lines: number } & Omit<SampleHeader, "kind" | "schema">;
}

/** Only as much is checked as is needed to find the inputs; a comparison with what they give says the rest. */
const stored = z.looseObject({
  kind: z.literal("Verdict"),
  schema: z.literal(1),
  id: z.string(),
  result: z.enum(RESULTS),
  reason: z.string(),
  spec: z.looseObject({ file: z.enum(["spec.yaml"]), sha256: z.string() }),
  samples: z.looseObject({
    sha256: z.string(),
    lines: z.int(),
    build: z.string(),
    engine: z.string().optional(),
    model: z.string().optional(),
    device: z.string().optional(),
    candidate_digest: z.string().optional(),
  }),
  buckets: z.array(
    z.looseObject({
      bucket: z.string(),
      result: z.enum(RESULTS),
      gate: z.string().nullable(),
      reason: z.string(),
      samples: z.int(),
      worst: z.number().nullable(),
      latency: z.looseObject({ mean: z.number(), lower: z.number(), upper: z.number() }).nullable(),
    }),
  ),
});

/** A verdict as it stands in its file. */
export type StoredVerdict = z.infer<typeof stored>;

/** The verdict in a folder that storeVerdict made; whether it follows from its inputs is what deriveAgain says. */
export function readVerdict(place: string): StoredVerdict {
  const file = path.join(place, VERDICT);
  if (!existsSync(file)) throw unreadable(file, "it is not there");
  return readStored(file);
}

/** The samples beside a verdict. */
export const samplesOf = (place: string): string => path.join(place, SAMPLES);

/** Judges samples by a spec. */
export function deriveVerdict(read: ReadSpec & { spec: ExperimentSpec }, samplesFile: string): Verdict {
  const { spec } = read;
  const stream = readSamples(samplesFile);
  refuseOthers(spec, stream.header, samplesFile);
  const judgement = judge(spec, stream.lines);
  const { kind: _, schema: __, ...header } = stream.header;
  const samples = { ...stream.end(), ...header };
  const sha256 = digest(read.text);
  const id = digest(`${sha256} ${samples.sha256}`).slice(0, 16);
  return {
    kind: "Verdict",
    schema: 1,
    id,
    spec: { name: spec.name, file: "spec.yaml", sha256 },
    samples,
    ...judgement,
  };
}

/** Keeps a verdict with its inputs below `folder`, whole or not at all; returns where. */
export function storeVerdict(
  folder: string,
  verdict: Verdict,
  specText: string,
  samplesFile: string,
): string {
  const place = path.join(folder, verdict.id);
  if (existsSync(place)) return place;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const fresh = mkdtempSync(path.join(folder, ".fresh-"));
  try {
    writeFileSync(path.join(fresh, verdict.spec.file), specText, { mode: 0o600 });
    copyFileSync(samplesFile, path.join(fresh, SAMPLES));
    writeFileSync(path.join(fresh, VERDICT), verdictText(verdict), { mode: 0o600 });
    for (const name of [verdict.spec.file, SAMPLES, VERDICT]) syncFile(path.join(fresh, name));
    renameSync(fresh, place);
    syncFolder(folder);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  return place;
}

/** What a derivation from the stored inputs found. */
export interface Derivation {
  id: string;
  place: string;
  result: string;
  /** What is stored and does not follow, as paths of keys, with what is stored and what was derived. */
  differences: { path: string; stored: unknown; derived: unknown }[];
}

/** Derives a stored verdict again: by its id below `folder`, or by the name of its file or folder. */
export function deriveAgain(folder: string, named: string): Derivation {
  const place = placeOf(folder, named);
  const file = path.join(place, VERDICT);
  if (statSync(file).size > MOST_VERDICT_BYTES)
    throw unreadable(file, `it is over ${MOST_VERDICT_BYTES} bytes`);
  const kept = readStored(file);
  const specFile = path.join(place, kept.spec.file);
  const derived = deriveVerdict(readExperiment(specFile), path.join(place, SAMPLES));
  const plain = JSON.parse(verdictText(derived));
  const found = differences(kept, plain).map((each) => ({
    path: each.path,
    stored: each.one,
    derived: each.other,
  }));
  const folderName = path.basename(path.resolve(place));
  // What was put into another verdict's folder follows from itself, and yet is not that verdict.
  if (ID.test(folderName) && folderName !== derived.id)
    found.push({ path: "(folder)", stored: folderName, derived: derived.id });
  return { id: derived.id, place, result: derived.result, differences: found };
}

const verdictText = (verdict: Verdict) => `${JSON.stringify(verdict, null, 2)}\n`;
const digest = (text: string) => createHash("sha256").update(text).digest("hex");

function refuseOthers(spec: ExperimentSpec, header: SampleHeader, file: string): void {
  for (const field of ["op", "control", "candidate"] as const) {
    if (header[field] === spec[field]) continue;
    const message = `${file}: its ${field} is ${header[field]}, the experiment ${spec.name} is about ${spec[field]}`;
    throw new OpswapError("OPSWAP_E_SAMPLES", message, { remedy: "give the samples of this experiment" });
  }
}

function placeOf(folder: string, named: string): string {
  const inFolder = path.join(folder, named);
  const isId = ID.test(named);
  const place =
    isId && existsSync(inFolder) ? inFolder : path.basename(named) === VERDICT ? path.dirname(named) : named;
  if (existsSync(path.join(place, VERDICT))) return place;
  const message = isId ? `no verdict ${named} in ${folder}` : `${named} is no stored verdict`;
  throw new OpswapError("OPSWAP_E_VERDICT", message, {
    remedy: "`opswap ab judge` prints where it stores one",
  });
}

function readStored(file: string): StoredVerdict {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, "utf8"));
  } catch (cause) {
    throw unreadable(file, (cause as Error).message);
  }
  const parsed = stored.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw unreadable(file, `${issue?.path.join(".")}: ${issue?.message}`);
}

const unreadable = (file: string, what: string) =>
  new OpswapError("OPSWAP_E_VERDICT", `${file} cannot be read: ${what}`);

function syncFile(file: string): void {
  const fd = openSync(file, "r+");
  fsyncSync(fd);
  closeSync(fd);
}
