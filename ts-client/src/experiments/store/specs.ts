/** Experiments and freezes as they were applied: a folder each, with the file's text and its digest. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { z } from "zod";
import { didYouMean } from "../../client/nearest.js";
import { OpswapError } from "../../types/errors.js";
import { type Difference, differences } from "../differences.js";
import type { ExperimentSpec } from "../spec/experiment.js";
import { parseSpec, type ReadSpec, specError } from "../spec/read-file.js";
import { stateFolder } from "../state-folder.js";
import { readJson, sha256, unreadable, writeWhole } from "./files.js";

export const NAME = /^[a-z0-9-]{1,63}$/;
const SPEC = "spec.yaml";
const APPLIED = "applied.json";

const applied = z.strictObject({
  schema: z.literal(1),
  sha256: z.string(),
  time: z.iso.datetime(),
  who: z.string(),
});

/** A spec as it is stored, and when and by whom it was applied last. */
export type StoredSpec = ReadSpec & Omit<z.infer<typeof applied>, "schema">;
export type StoredExperiment = StoredSpec & { spec: ExperimentSpec };

/** What an apply did, and what was another value before. */
export interface Applied {
  file: string;
  kind: string;
  name: string;
  state: "created" | "updated" | "unchanged";
  changes: Difference[];
}

/** Where this user's experiments are. */
export function experimentsFolder(): string {
  return path.join(stateFolder(), "experiments");
}

/** The names of all that were applied, in order. */
export function storedNames(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => NAME.test(name) && existsSync(path.join(folder, name, APPLIED)))
    .sort();
}

/** A freeze under the name of an experiment would hide the experiment's runs from every verb. */
export function refuseOtherKind(folder: string, { file, spec, lineOf }: ReadSpec): void {
  const kind = findSpec(folder, spec.name)?.spec.kind;
  if (kind !== undefined && kind !== spec.kind)
    throw specError(file, lineOf(["name"]), `${spec.name} is the name of a stored ${kind}`);
}

/** Stores a spec under its name; the same text again changes nothing. */
export function applySpec(folder: string, read: ReadSpec, who: string): Applied {
  const { file, spec, text } = read;
  refuseOtherKind(folder, read);
  const before = findSpec(folder, spec.name);
  const told = { file, kind: spec.kind, name: spec.name };
  if (before?.text === text) return { ...told, state: "unchanged", changes: [] };
  const place = path.join(folder, spec.name);
  // The digest last: a writer that is killed in between leaves a file that is refused by name, and applied again.
  writeWhole(path.join(place, SPEC), text);
  const record = { schema: 1, sha256: sha256(text), time: new Date().toISOString(), who };
  writeWhole(path.join(place, APPLIED), `${JSON.stringify(record, null, 2)}\n`);
  const changes = before === undefined ? [] : differences(before.spec, spec);
  return { ...told, state: before === undefined ? "created" : "updated", changes };
}

/** The stored spec of a name. */
export function storedSpec(folder: string, name: string): StoredSpec {
  const found = NAME.test(name) ? readStored(folder, name) : undefined;
  if (found) return found;
  throw new OpswapError(
    "OPSWAP_E_NO_EXPERIMENT",
    `no experiment ${name}${didYouMean(name, storedNames(folder))}`,
  );
}

/** The same; refuses a freeze. */
export function storedExperiment(folder: string, name: string): StoredExperiment {
  const found = storedSpec(folder, name);
  const { spec } = found;
  if (spec.kind === "Experiment") return { ...found, spec };
  throw new OpswapError("OPSWAP_E_NO_EXPERIMENT", `${name} is a ${spec.kind}, which does not run`);
}

/** One whose files were changed by other hands is none to compare with. */
function findSpec(folder: string, name: string): StoredSpec | undefined {
  try {
    return readStored(folder, name);
  } catch {
    return undefined;
  }
}

function readStored(folder: string, name: string): StoredSpec | undefined {
  const place = path.join(folder, name);
  const found = readJson(path.join(place, APPLIED), applied);
  if (found === undefined) return undefined;
  const { schema: _, ...record } = found;
  const file = path.join(place, SPEC);
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  if (sha256(text) !== record.sha256) throw unreadable(file, "its digest is not the one that was applied");
  return { ...parseSpec(file, text), ...record };
}
