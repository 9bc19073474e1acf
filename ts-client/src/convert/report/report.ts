/** conversion.json: makes, writes and reads the report of a conversion. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import path from "node:path";
import { z } from "zod";
import { packageVersion } from "../../version.js";
import { Calibration } from "../awq/calibration.js";
import { convertError } from "../errors.js";
import { READER_IDS, SCALE_RULES } from "../options/choices.js";
import type { ConvertOptions } from "../options/options.js";
import type { Plan } from "../plan/types.js";
import { REPORT } from "../source/side-files.js";
import { sum } from "../sum.js";
import { wholeLines } from "../text/text-file.js";
import { NOT_MEASURED, perplexityReport } from "./perplexity-report.js";
import { groupsIn, scaledGroup } from "./scaled-groups.js";
import { sqnr, type TensorReport, tensorReport } from "./tensor-report.js";

const WORST = 10;

const options = z.object({
  to: z.string(),
  nonfinite: z.enum(["refuse", "keep", "zero"]),
  policy: z.enum(["linear", "experts"]),
  keep: z.array(z.string()),
  quantize: z.array(z.string()),
  scales: z.enum(SCALE_RULES).nullable(),
  /** Digest of the statistics. */
  calibration: z.string().nullable(),
  awq: z.boolean(),
  repack: z.boolean(),
  tensorParallel: z.number().nullable(),
  for: z.enum(READER_IDS).nullable().default(null),
});
const file = z.object({ name: z.string(), bytes: z.number() });

/** conversion.json: what was converted, from what, and how well. The same bytes however often the run was cut. */
export const report = z.object({
  tool: z.object({ name: z.string(), version: z.string() }),
  layout: z.object({ id: z.string(), version: z.number() }),
  options,
  fingerprint: z.string(),
  digest_method: z.string(),
  source: z.object({ files: z.array(file.extend({ header_sha256: z.string() })), digest: z.string() }),
  output: z.object({ files: z.array(file), digest: z.string() }),
  totals: z.object({
    tensors: z.number(),
    quantized: z.number(),
    source_bytes: z.number(),
    output_bytes: z.number(),
    sqnr_db: z.number().nullable(),
    nonfinite: z.number(),
  }),
  perplexity: perplexityReport,
  worst: z.array(z.object({ name: z.string(), sqnr_db: z.number().nullable(), max_error: z.number() })),
  /** With --awq: what was scaled by what. */
  scaled: z.array(scaledGroup).optional(),
  tensors: z.array(tensorReport),
});
export type Report = z.infer<typeof report>;
export type Summary = Omit<Report, "tensors">;
/** The line behind which each tensor has its own. */
const TENSORS = ' "tensors": [';

export function makeReport(plan: Plan, done: ReadonlyMap<string, TensorReport>): Report {
  const tensors = plan.files.flatMap((file) => file.tensors.map(({ name }) => found(done, name)));
  return {
    tool: { name: "opswap", version: packageVersion() },
    layout: { id: plan.format.id, version: plan.format.version },
    options: optionsOf(plan),
    fingerprint: plan.fingerprint,
    digest_method: "xxh64 of the xxh64 of each tile; of all tensors: sha256 of names and digests",
    source: {
      files: plan.source.files.map(({ name, bytes, header }) => ({
        name,
        bytes,
        header_sha256: header.sha256,
      })),
      digest: digestOf(tensors, (one) => one.source_digest),
    },
    output: {
      files: plan.files.map(({ name, layout }) => ({ name, bytes: layout.bytes })),
      digest: digestOf(tensors, (one) => `${one.data_digest}${one.scale_digest ?? ""}`),
    },
    totals: totalsOf(plan, tensors),
    perplexity: NOT_MEASURED,
    worst: worstOf(tensors),
    ...(plan.options.awq ? { scaled: groupsIn(tensors) } : {}),
    tensors,
  };
}

function optionsOf({ options: given, calibration }: Plan): z.infer<typeof options> {
  const [keep, quantize] = [[...given.keep], [...given.quantize]];
  return { ...given, keep, quantize, calibration: calibration?.sha256 ?? null };
}

/** How an output was made, so that it can be made again; statistics are given anew, and are the same. */
export function optionsFor({ options: made }: Summary, calibration: string | null): ConvertOptions {
  const given = calibration === null ? null : Calibration.open(calibration, []).sha256;
  if (given === made.calibration) return { ...made, calibration };
  const [need, have] = [made.calibration, given].map((sha256) => (sha256 ? `of sha256 ${sha256}` : "none"));
  throw convertError(
    "OPSWAP_E_CALIBRATION",
    `the output was made with statistics: ${need}; given: ${have}`,
    "give the same --calibration as when it was made",
  );
}

function found(done: ReadonlyMap<string, TensorReport>, name: string): TensorReport {
  const one = done.get(name);
  if (one === undefined) throw new Error(`${name} was not converted`);
  return one;
}

function digestOf(tensors: readonly TensorReport[], value: (one: TensorReport) => string): string {
  const hash = createHash("sha256");
  for (const one of tensors) hash.update(`${one.name}\0${value(one)}\n`);
  return hash.digest("hex");
}

function totalsOf(plan: Plan, tensors: readonly TensorReport[]) {
  const quality = tensors.flatMap((one) => one.quality ?? []);
  return {
    tensors: tensors.length,
    quantized: quality.length,
    source_bytes: plan.sourceBytes,
    output_bytes: plan.outputBytes,
    sqnr_db: sqnr(
      sum(quality, (one) => one.signal),
      sum(quality, (one) => one.noise),
    ),
    nonfinite: sum(tensors, (one) => one.nonfinite),
  };
}

function worstOf(tensors: readonly TensorReport[]) {
  return tensors
    .flatMap(({ name, quality }) =>
      quality ? [{ name, sqnr_db: quality.sqnr_db, max_error: quality.max_error }] : [],
    )
    .sort((a, b) => (a.sqnr_db ?? Number.POSITIVE_INFINITY) - (b.sqnr_db ?? Number.POSITIVE_INFINITY))
    .slice(0, WORST);
}

/** A line for each tensor, so that neither writing nor reading has more than one of them as text. */
export function* reportText({ tensors, ...rest }: Report): Generator<string> {
  yield `${JSON.stringify(rest, null, 1).slice(0, -"\n}".length)},\n${TENSORS}`;
  let before = "";
  for (const one of tensors) {
    yield `${before}\n${JSON.stringify(one)}`;
    before = ",";
  }
  yield "\n]}\n";
}

/** The report in an output; undefined where there is none. */
export function readReport(folder: string): Report | undefined {
  return readWith(folder, (file) => {
    const tensors: TensorReport[] = [];
    let rest = "";
    let inTensors = false;
    for (const { text } of wholeLines(file)) {
      if (inTensors && text.startsWith("{"))
        tensors.push(tensorReport.parse(JSON.parse(text.replace(/,$/, ""))));
      else rest += `${text}\n`;
      inTensors ||= text === TENSORS;
    }
    const whole = report.parse(JSON.parse(rest));
    return tensors.length > 0 ? { ...whole, tensors } : whole;
  });
}

/** The report in an output without its tensors, which are not read. */
export function readSummary(folder: string): Summary | undefined {
  return readWith(folder, (file) => {
    let head = "";
    for (const { text } of wholeLines(file)) {
      head += text;
      if (text === TENSORS) {
        head += "]}";
        break;
      }
    }
    const { tensors: _, ...summary } = report.parse(JSON.parse(head));
    return summary;
  });
}

function readWith<T>(folder: string, read: (file: string) => T): T | undefined {
  const file = path.join(folder, REPORT);
  if (!existsSync(file)) return undefined;
  try {
    return read(file);
  } catch (error) {
    throw convertError(
      "OPSWAP_E_OUTPUT",
      `${file} is not a report of this version: ${(error as Error).message.slice(0, 200)}`,
    );
  }
}
