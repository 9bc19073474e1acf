/** Converts what a plan says: a whole output, one part, or the merge of parts. */
import { closeSync, constants, fsync, openSync, writeSync } from "node:fs";
import { availableParallelism } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { loadNative } from "../../native.js";
import { Scaling } from "../awq/scaling.js";
import { asIoError, convertError, errnoName, isFull } from "../errors.js";
import type { Plan, PlannedFile, PlannedTensor } from "../plan/types.js";
import { makeReport, type Report } from "../report/report.js";
import { reportOf } from "../report/tensor-report.js";
import { headOf } from "../source/safetensors/layout.js";
import { sum } from "../sum.js";
import { checkSpace } from "./check-space.js";
import { checkResult, convertTensor, type Files, type WorkContext } from "./convert-tensor.js";
import type { Emit, Operation } from "./events.js";
import { finishedOutput, finishedStaging } from "./finished-output.js";
import { Journal, type JournalHeader } from "./journal.js";
import { OpenSources } from "./open-sources.js";
import { checkComplete, countOf, filesOf, type Part } from "./parts.js";
import { publish } from "./publish.js";
import { SharedAmax } from "./shared-amax.js";
import { SourceChecks } from "./source-checks.js";
import { checkApart, Staging, syncFolder } from "./staging.js";

export interface RunOptions {
  threads?: number;
  /** Removes an unfinished output first. */
  restart?: boolean;
  /** Whether files are compared with digests that came with them; true unless said. */
  checksums?: boolean;
  /** Refuses to convert what its parts have not: see `merge`. */
  mergeOnly?: boolean;
  /** Looks at an output that is whole, and throws where it must not be published. */
  accept?: (folder: string) => Promise<void>;
}

export type PartOptions = Pick<RunOptions, "threads" | "checksums">;

/** Reads wait for the disk, so there are more threads than cores; each holds three tiles. */
export function defaultThreads(): number {
  return Math.min(8, Math.max(2, 2 * availableParallelism()));
}

/** Tells how a run ended, and how long it took from now. */
function ending(doing: Operation, output: string, emit: Emit): (already: boolean) => void {
  const started = performance.now();
  return (already) =>
    emit({
      event: "end",
      doing,
      output,
      seconds: (performance.now() - started) / 1000,
      already_done: already,
    });
}

/** Converts, from where an earlier run of the same conversion stopped. The output appears at its place whole. */
export async function run(plan: Plan, target: string, options: RunOptions, emit: Emit): Promise<Report> {
  const output = path.resolve(target);
  const end = ending(options.mergeOnly ? "merge" : "run", output, emit);
  checkApart(plan.source.root, output);
  const there = finishedOutput(plan, output);
  if (there !== undefined) {
    end(true);
    return there;
  }
  const staging = Staging.take(output, options);
  try {
    const report =
      finishedStaging(plan, staging.folder) ?? (await convertInto(staging, plan, output, options, emit));
    await options.accept?.(staging.folder);
    emit({ event: "publish", output });
    staging.publish();
    end(false);
    return report;
  } catch (error) {
    throw asIoError(error);
  } finally {
    staging.release();
  }
}

/**
 * Converts one part of many into the folder that all of them share, and resumes it; `merge` publishes when all are
 * done. Parts may run on any machines that see the same files.
 */
export async function runPart(
  plan: Plan,
  target: string,
  part: Part,
  options: PartOptions,
  emit: Emit,
): Promise<void> {
  const output = path.resolve(target);
  const end = ending("run", output, emit);
  checkApart(plan.source.root, output);
  if (finishedOutput(plan, output) !== undefined) return end(true);
  const staging = Staging.take(output, { shared: true });
  try {
    const already = finishedStaging(plan, staging.folder) !== undefined;
    if (!already) await convertPart(staging, plan, part, options, emit);
    end(already);
  } catch (error) {
    throw asIoError(error);
  } finally {
    staging.release();
  }
}

/** Checks and publishes what parts have converted; refuses where one is missing or still running. */
export function merge(plan: Plan, target: string, options: PartOptions, emit: Emit): Promise<Report> {
  return run(plan, target, { ...options, mergeOnly: true }, emit);
}

async function convertInto(
  staging: Staging,
  plan: Plan,
  output: string,
  options: RunOptions,
  emit: Emit,
): Promise<Report> {
  const journal = Journal.open(staging.journal, firstLine(plan));
  try {
    const parts = staging.journals().filter((file) => file !== staging.journal);
    for (const file of parts) journal.adopt(file, true);
    if (options.mergeOnly) checkComplete(plan, journal.done, parts.map(countOf));
    checkSpace(plan, staging);
    const tensors = plan.files.reduce((count, file) => count + file.tensors.length, 0);
    const sizes = { source_bytes: plan.sourceBytes, output_bytes: plan.outputBytes };
    emit({ event: "begin", doing: options.mergeOnly ? "merge" : "run", output, tensors, ...sizes });
    const run = new Run(plan, staging, journal, options, emit);
    await run.all(plan.files);
    const report = makeReport(plan, journal.done);
    publish(plan, staging, report);
    return report;
  } finally {
    journal.close();
  }
}

async function convertPart(
  staging: Staging,
  plan: Plan,
  part: Part,
  options: PartOptions,
  emit: Emit,
): Promise<void> {
  const own = staging.partJournal(part);
  const journal = Journal.open(own, firstLine(plan));
  try {
    for (const file of staging.journals()) if (file !== own) journal.adopt(file, false);
    checkSpace(plan, staging);
    const files = filesOf(plan, part);
    const bytes = sum(files, (file) => sum(file.tensors, ({ source }) => source.end - source.begin));
    const made = sum(files, (file) =>
      sum(file.tensors, ({ data, scale }) => data.bytes + (scale?.bytes ?? 0)),
    );
    const sizes = { source_bytes: bytes, output_bytes: made };
    const tensors = sum(files, (file) => file.tensors.length);
    emit({ event: "begin", doing: "run", output: staging.folder, tensors, ...sizes });
    const run = new Run(plan, staging, journal, options, emit);
    await run.all(files);
    syncFolder(staging.folder);
  } finally {
    journal.close();
  }
}

function firstLine(plan: Plan): JournalHeader {
  const modified = Object.fromEntries(plan.source.files.map((file) => [file.name, file.modified]));
  return { fingerprint: plan.fingerprint, modified };
}

/** What is found once for all tensors starts empty. */
export function workContextFor({ options, calibration }: Plan, threads = defaultThreads()): WorkContext {
  const { nonfinite } = options;
  return { nonfinite, threads, sharedAmax: new SharedAmax(), scaling: new Scaling(calibration) };
}

const sync = promisify(fsync);

class Run {
  readonly #plan: Plan;
  readonly #staging: Staging;
  readonly #journal: Journal;
  readonly #context: WorkContext;
  readonly #checks: SourceChecks;
  readonly #emit: Emit;

  constructor(plan: Plan, staging: Staging, journal: Journal, options: PartOptions, emit: Emit) {
    this.#plan = plan;
    this.#staging = staging;
    this.#journal = journal;
    this.#context = workContextFor(plan, options.threads);
    this.#checks = new SourceChecks(plan, journal, options.checksums ?? true);
    this.#emit = emit;
  }

  /** A file is synced while the next one is worked on. */
  async all(files: readonly PlannedFile[]): Promise<void> {
    const syncs: Promise<void>[] = [];
    try {
      for (const file of files) {
        const fd = this.#open(file);
        try {
          await this.#file(file, fd);
        } catch (error) {
          closeSync(fd);
          throw error;
        }
        const synced = sync(fd).finally(() => closeSync(fd));
        synced.catch(() => {}); // awaited below
        syncs.push(synced);
        this.#emit({ event: "file", file: file.name, bytes: file.layout.bytes });
      }
    } finally {
      await Promise.allSettled(syncs);
    }
    await Promise.all(syncs);
  }

  #open(file: PlannedFile): number {
    const at = this.#staging.file(file.name);
    const fd = openSync(at, constants.O_RDWR | constants.O_CREAT); // another part may be writing it: never truncated
    const errno = loadNative().reserve(fd, file.layout.bytes);
    if (errno !== 0) {
      closeSync(fd);
      const full = `${at} needs ${file.layout.bytes} bytes: ${errnoName(errno)}`;
      throw convertError(isFull(errno) ? "OPSWAP_E_DISK_FULL" : "OPSWAP_E_IO", full);
    }
    writeSync(fd, headOf(file.layout), 0, file.layout.headBytes, 0);
    for (const { placed, bytes } of file.tensors.flatMap((tensor) => tensor.constants))
      writeSync(fd, bytes, 0, bytes.length, placed.offset);
    return fd;
  }

  async #file(file: PlannedFile, target: number): Promise<void> {
    const sources = new OpenSources();
    const stop = new AbortController();
    try {
      const checked = this.#checks.of(file, stop.signal, this.#emit);
      checked.catch(() => {}); // awaited below
      const waiting = await this.#unfinished(file, target);
      for (const tensor of waiting)
        await this.#tensor(file, tensor, { source: sources.of(tensor.from), target });
      await checked;
      sources.checkSame();
    } finally {
      stop.abort();
      sources.close();
    }
  }

  /** Tensors still to do: those that the journal has not, or that are not on disk as it says. */
  async #unfinished(file: PlannedFile, target: number): Promise<PlannedTensor[]> {
    const waiting: PlannedTensor[] = [];
    let [tensors, bytes, again] = [0, 0, 0];
    for (const tensor of file.tensors) {
      const entry = this.#journal.done.get(tensor.name);
      if (entry === undefined) {
        waiting.push(tensor);
        continue;
      }
      const { dataDigest, scaleDigest } = await convertTensor(
        "digest",
        file,
        tensor,
        { source: -1, target },
        this.#context,
      );
      const same =
        dataDigest === entry.data_digest && (tensor.scale === null || scaleDigest === entry.scale_digest);
      if (!same) {
        waiting.push(tensor);
        again++;
        continue;
      }
      tensors++;
      bytes += entry.bytes;
    }
    if (tensors + again > 0) this.#emit({ event: "resume", tensors, bytes, again });
    return waiting;
  }

  async #tensor(file: PlannedFile, tensor: PlannedTensor, files: Files): Promise<void> {
    const result = await convertTensor("write", file, tensor, files, this.#context);
    checkResult(tensor, result, this.#plan.options.nonfinite);
    const folds = await this.#context.scaling.report(tensor, this.#context.threads);
    const report = reportOf(tensor, result, folds);
    this.#journal.add(report);
    this.#emit({ event: "tensor", file: file.name, report });
  }
}
