/** Reads an experiment or a freeze from YAML or JSON, and says in which line it is wrong. */
import { type Document, isMap, isNode, LineCounter, parseDocument } from "yaml";
import type { z } from "zod";
import { didYouMean } from "../../client/nearest.js";
import { boundedText } from "../../types/bounded-text.js";
import { OpswapError } from "../../types/errors.js";
import {
  type ExperimentSpec,
  FIELDS,
  type FreezeSpec,
  METRICS,
  type SpecFile,
  specFile,
} from "./experiment.js";

const MOST_BYTES = 65_536;

/** What a file says, and where each part of it stands. */
export interface ReadSpec {
  spec: SpecFile;
  file: string;
  text: string;
  /** Line of what a path of keys leads to, or of the nearest part above it. */
  lineOf(path: readonly PropertyKey[]): number;
}

/** Reads and checks one file. JSON is read as YAML, which it is. */
export function readSpec(file: string): ReadSpec {
  const text = boundedText(file, MOST_BYTES);
  if (text === undefined) throw specError(file, 1, `it is over ${MOST_BYTES} bytes`);
  return parseSpec(file, text);
}

/** Refuses what is no experiment; the same as readSpec otherwise. */
export function readExperiment(file: string): ReadSpec & { spec: ExperimentSpec } {
  const read = readSpec(file);
  const { spec } = read;
  if (spec.kind === "Experiment") return { ...read, spec };
  throw specError(file, read.lineOf(["kind"]), `expected kind Experiment, this is a ${spec.kind}`);
}

/** Refuses what is no freeze; the same as readSpec otherwise. */
export function readFreeze(file: string): ReadSpec & { spec: FreezeSpec } {
  const read = readSpec(file);
  const { spec } = read;
  if (spec.kind === "Freeze") return { ...read, spec };
  throw specError(file, read.lineOf(["kind"]), `expected kind Freeze, this is an ${spec.kind}`);
}

/** The same of a text; `file` is what messages call it. */
export function parseSpec(file: string, text: string): ReadSpec {
  const lines = new LineCounter();
  const { document, value } = parseYaml(file, text, lines);
  const lineOf = (path: readonly PropertyKey[]) => lines.linePos(offsetOf(document, path)).line;
  const parsed = specFile.safeParse(value);
  if (parsed.success) return { spec: parsed.data, file, text, lineOf };
  const [issue] = parsed.error.issues;
  if (issue === undefined) throw specError(file, 1, "not as declared");
  const at = issue.code === "unrecognized_keys" ? [...issue.path, issue.keys[0] ?? ""] : issue.path;
  throw specError(file, lineOf(at), told(issue, document));
}

/** A refusal that names file and line. */
export function specError(file: string, line: number, what: string): OpswapError {
  return new OpswapError("OPSWAP_E_EXPERIMENT", `${file}, line ${line}: ${what}`);
}

/** Plain values, without aliases and tags: what stands there is all there is. The parser itself gives up where brackets nest too deep. */
function parseYaml(file: string, text: string, lines: LineCounter): { document: Document; value: unknown } {
  let document: Document.Parsed;
  let value: unknown;
  try {
    document = parseDocument(text, { lineCounter: lines, schema: "core", merge: false, logLevel: "error" });
    value = document.errors.length > 0 ? undefined : document.toJS({ maxAliasCount: 0 });
  } catch (cause) {
    throw specError(file, 1, `it cannot be read: ${firstLine((cause as Error).message)}`);
  }
  const [wrong] = [...document.errors, ...document.warnings];
  if (wrong) throw specError(file, lines.linePos(wrong.pos[0]).line, firstLine(wrong.message));
  return { document, value };
}

/** Where the key at the end of a path stands, or the nearest part above it that is there. */
function offsetOf(document: Document, path: readonly PropertyKey[]): number {
  for (let length = path.length; length > 0; length--) {
    const above = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const key = path[length - 1];
    const pair = isMap(above) ? above.items.find((item) => String(item.key) === key) : undefined;
    const node = pair?.key ?? document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return isNode(document.contents) ? (document.contents.range?.[0] ?? 0) : 0;
}

function told(issue: z.core.$ZodIssue, document: Document): string {
  const path = issue.path.join(".");
  const where = path === "" ? "" : `${path}: `;
  if (issue.code === "unrecognized_keys") return `${where}${unknownKey(issue.keys[0] ?? "")}`;
  const found = isNode(document.getIn(issue.path, true)) ? document.getIn(issue.path) : undefined;
  const word = typeof found === "string" ? found : "";
  if (isMetricName(issue.path))
    return `${where}no metric is named ${word}; there are ${METRICS.join(", ")}${didYouMean(word, METRICS)}`;
  return `${where}${issue.message.replace(/^Invalid input: /, "")}`;
}

function isMetricName(path: readonly PropertyKey[]): boolean {
  return path.at(-1) === "name" && path.at(-3) === "metrics";
}

function unknownKey(key: string): string {
  return `there is no field ${key}${didYouMean(key, FIELDS)}`;
}

const firstLine = (text: string) => text.split("\n")[0] ?? text;
