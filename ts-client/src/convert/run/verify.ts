/** Converts again in memory and compares every byte with an output. */
import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";
import path from "node:path";
import type { ConvertResult } from "../../types/convert-job.js";
import { asIoError, convertError } from "../errors.js";
import { indexText } from "../plan/output-index.js";
import type { Plan, PlannedFile, PlannedTensor } from "../plan/types.js";
import { headOf } from "../source/safetensors/layout.js";
import { INDEX } from "../source/side-files.js";
import { holds, piecesOf } from "../text/text-file.js";
import { checkResult, convertTensor, type WorkContext } from "./convert-tensor.js";
import type { Emit } from "./events.js";
import { OpenSources } from "./open-sources.js";
import { workContextFor } from "./run.js";

export interface Difference {
  file: string;
  /** null: the file itself, or its header. */
  tensor: string | null;
  what: string;
}

export interface Verdict {
  tensors: number;
  bytes: number;
  differences: Difference[];
}

/** Converts again in memory, and compares every byte with the output. */
export async function verify(
  plan: Plan,
  output: string,
  threads: number | undefined,
  emit: Emit,
): Promise<Verdict> {
  const started = performance.now();
  if (!existsSync(output)) throw convertError("OPSWAP_E_OUTPUT", `${output} does not exist`, "convert first");
  const tensors = plan.files.reduce((count, file) => count + file.tensors.length, 0);
  const sizes = { source_bytes: plan.sourceBytes, output_bytes: plan.outputBytes };
  emit({ event: "begin", doing: "verify", output, tensors, ...sizes });
  const verdict: Verdict = { tensors: 0, bytes: 0, differences: textDifferences(plan, output) };
  try {
    const context = workContextFor(plan, threads);
    for (const file of plan.files) await verifyFile(file, output, context, verdict, emit);
  } catch (error) {
    throw asIoError(error);
  }
  const seconds = (performance.now() - started) / 1000;
  emit({ event: "end", doing: "verify", output, seconds, already_done: false });
  return verdict;
}

/** Throws what `verify` found, in words. */
export function checkVerdict({ differences }: Verdict, output: string): void {
  const [first] = differences;
  if (first === undefined) return;
  const where = first.tensor === null ? first.file : `tensor ${first.tensor} in ${first.file}`;
  const more = differences.length > 1 ? `, and ${differences.length - 1} more differences` : "";
  throw convertError("OPSWAP_E_MISMATCH", `${output}: ${where} ${first.what}${more}`);
}

function textDifferences(plan: Plan, output: string): Difference[] {
  const texts: [string, Iterable<string | Buffer>][] = [
    ...(plan.indexed ? [[INDEX, indexText(plan.files)] as [string, Iterable<string>]] : []),
    ...(plan.config === null ? [] : [["config.json", [plan.config]] as [string, string[]]]),
    ...plan.extra.map(({ name, text }): [string, string[]] => [name, [text]]),
    ...plan.side.map(({ name, path: from }): [string, Iterable<Buffer>] => [name, piecesOf(from)]),
  ];
  return texts.flatMap(([name, wanted]) => {
    const at = path.join(output, name);
    if (!existsSync(at)) return [{ file: name, tensor: null, what: "is missing" }];
    return holds(at, wanted) ? [] : [{ file: name, tensor: null, what: "differs" }];
  });
}

async function verifyFile(
  file: PlannedFile,
  output: string,
  context: WorkContext,
  verdict: Verdict,
  emit: Emit,
): Promise<void> {
  const at = path.join(output, file.name);
  const differs = (tensor: string | null, what: string) =>
    verdict.differences.push({ file: file.name, tensor, what });
  if (!existsSync(at)) return void differs(null, "is missing");
  const bytes = statSync(at).size;
  if (bytes !== file.layout.bytes)
    return void differs(null, `has ${bytes} bytes instead of ${file.layout.bytes}`);
  const sources = new OpenSources();
  const target = openSync(at, "r");
  try {
    if (!readAt(target, file.layout.headBytes, 0).equals(headOf(file.layout)))
      return void differs(null, "has another header");
    for (const tensor of file.tensors) {
      const files = { source: sources.of(tensor.from), target };
      const result = await convertTensor("verify", file, tensor, files, context);
      checkResult(tensor, result, context.nonfinite);
      const what = difference(tensor, result, target);
      if (what !== undefined) differs(tensor.name, what);
      verdict.tensors++;
      verdict.bytes += tensor.source.end - tensor.source.begin;
      emit({
        event: "verified",
        file: file.name,
        tensor: tensor.name,
        bytes: tensor.source.end - tensor.source.begin,
      });
    }
  } finally {
    sources.close();
    closeSync(target);
  }
}

function difference(tensor: PlannedTensor, result: ConvertResult, target: number): string | undefined {
  const { differing, firstDiffering, differingScales } = result;
  const codes =
    differing === 0 ? [] : [`${differing} bytes differ, the first is byte ${firstDiffering} of its data`];
  const scales = differingScales === 0 ? [] : [`${differingScales} scales of ${tensor.scale?.name} differ`];
  const constants = tensor.constants
    .filter(({ placed, bytes }) => !bytes.equals(readAt(target, bytes.length, placed.offset)))
    .map(({ placed }) => `${placed.name} differs`);
  const all = [...codes, ...scales, ...constants];
  return all.length === 0 ? undefined : all.join("; ");
}

function readAt(fd: number, bytes: number, offset: number): Buffer {
  const read = Buffer.alloc(bytes);
  readSync(fd, read, 0, bytes, offset);
  return read;
}
