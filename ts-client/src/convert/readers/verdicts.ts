/** What each reader does with an output, by its rules. */
import { convertError } from "../errors.js";
import { READERS, type Reader } from "../options/choices.js";
import { ENGINES, type Engine, layersOf } from "./layers.js";
import { sglang } from "./sglang.js";
import { transformers } from "./transformers.js";
import { trtllm } from "./trtllm.js";
import type { OutputFacts, Problem, ReaderRules } from "./types.js";
import { vllm } from "./vllm.js";

const RULES: Readonly<Record<Reader, ReaderRules>> = { vllm, sglang, transformers, trtllm };

/** What a reader does with an output. */
export interface Verdict {
  reader: Reader;
  name: string;
  version: string;
  /** loaded: its own code was seen doing so, docs/loaders.md; read: its source says so. */
  known: "loaded" | "read";
  /** Whether it has a model of this architecture, for engines; where not, rules that hold for most models apply. */
  architecture: boolean;
  loads: boolean;
  problems: readonly Problem[];
}

export function verdictsOf(facts: OutputFacts): Verdict[] {
  return (Object.keys(READERS) as Reader[]).map((reader) => verdictOf(reader, facts));
}

function verdictOf(reader: Reader, facts: OutputFacts): Verdict {
  const { name, version, known, problems } = RULES[reader];
  const found = problems(facts);
  const engine = ENGINES.find((one): one is Engine => one === reader);
  const architecture = engine === undefined || layersOf(facts.architectures, [engine]).known.length > 0;
  return { reader, name, version, known, architecture, loads: found.length === 0, problems: found };
}

/** One line for each problem of a reader, or that there is none. */
export function verdictLines({ name, version, known, architecture, loads, problems }: Verdict): string[] {
  const unsure = architecture ? "" : "; it has no model of this architecture, and general rules apply";
  const who = `${name} ${version}`;
  if (loads)
    return [`${who}: ${known === "loaded" ? "loads it right" : "reads this layout, by its source"}${unsure}`];
  return problems.flatMap(({ problem, remedy, file, tensors = [] }) => [
    `${who}: refused: ${problem}${tensors.length > 0 ? ` (${tensors.length} tensors, the first is ${tensors[0]})` : ""} [${file}]`,
    `  ${remedy}`,
  ]);
}

/** Refuses an output that the reader which it is for would not load right. */
export function checkReader(reader: Reader | null, facts: OutputFacts): void {
  if (reader === null) return;
  const { name, version, problems } = verdictOf(reader, facts);
  const [first] = problems;
  if (first === undefined) return;
  const tensors = first.tensors ?? [];
  const which =
    tensors.length > 0 ? `: ${tensors[0]}${tensors.length > 1 ? ` and ${tensors.length - 1} more` : ""}` : "";
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `--for ${reader}: ${name} ${version} does not load ${facts.layout} right: ${first.problem} (${first.file})${which}`,
    first.remedy,
  );
}
