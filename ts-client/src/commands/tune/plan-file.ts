/** A plan file: which way of planning its calls each implementation takes on one device; native/core/tuned.cpp reads it. */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { z } from "zod";
import { stateFolder } from "../../experiments/state-folder.js";
import { writeWhole } from "../../experiments/store/files.js";
import { OpswapError } from "../../types/errors.js";

const SCHEMA = 1;
const MOST_ENTRIES = 4096;
const text = z.string().min(1).max(96);

/** Cycles of the slowest SM by the model, or microseconds on the device. */
const entry = z.discriminatedUnion("source", [
  z.strictObject({ source: z.literal("modelled"), key: text, way: text, cycles: z.int().positive() }),
  z.strictObject({ source: z.literal("measured"), key: text, way: text, us: z.number().positive() }),
]);
const part = z.strictObject({
  op: text,
  implementation: text,
  /** Digest of the kernels' sources: of others the part is void. */
  sources: text,
  entries: z.array(entry).max(MOST_ENTRIES),
});
const planFile = z.strictObject({ schema: z.literal(SCHEMA), device: text, ops: z.array(part) });

export type Entry = z.infer<typeof entry>;
export type Part = z.infer<typeof part>;
export type PlanFile = z.infer<typeof planFile>;

export interface Found {
  source: "modelled" | "measured";
  key: string;
  way: string;
  cycles?: number | undefined;
  us?: number | undefined;
}

export function entryOf({ source, key, way, cycles, us }: Found): Entry {
  return entry.parse(source === "measured" ? { source, key, way, us } : { source, key, way, cycles });
}

export const planFileOf = (device: string, folder = stateFolder()) =>
  path.join(folder, "tuned", `${device}.json`);

/** What is kept for a device; nothing where there is no file. A file of another form is refused, and not replaced. */
export function readPlanFile(file: string, device: string): PlanFile {
  if (!existsSync(file)) return { schema: SCHEMA, device, ops: [] };
  let found: unknown;
  try {
    found = JSON.parse(readFileSync(file, "utf8"));
  } catch (cause) {
    throw refused(file, (cause as Error).message);
  }
  const parsed = planFile.safeParse(found);
  if (!parsed.success) throw refused(file, parsed.error.issues[0]?.message ?? "it has another form");
  if (parsed.data.device !== device) throw refused(file, `it is of ${parsed.data.device}`);
  return parsed.data;
}

function refused(file: string, why: string): OpswapError {
  const remedy = "remove it, and tune again";
  return new OpswapError("OPSWAP_E_PLAN", `${file} is no plan file that this build knows: ${why}`, {
    remedy,
  });
}

/** `kept` with what was found anew. What was measured with the same kernels outlives what is only modelled. */
export function merged(kept: PlanFile, found: readonly Part[]): PlanFile {
  const same = (a: Part, b: Part) => a.op === b.op && a.implementation === b.implementation;
  const others = kept.ops.filter((old) => !found.some((fresh) => same(old, fresh)));
  const joined = found.map((fresh) => {
    const old = kept.ops.find((each) => same(each, fresh));
    return old?.sources === fresh.sources ? { ...fresh, entries: joinedEntries(old, fresh) } : fresh;
  });
  return { ...kept, ops: [...others, ...joined].sort((a, b) => (a.op < b.op ? -1 : 1)) };
}

function joinedEntries(old: Part, fresh: Part): Entry[] {
  const byKey = new Map(old.entries.map((each) => [each.key, each]));
  for (const each of fresh.entries)
    if (each.source === "measured" || byKey.get(each.key)?.source !== "measured") byKey.set(each.key, each);
  return [...byKey.values()];
}

/** Written whole or not at all: a reader sees the old file or the new one. */
export function writePlanFile(file: string, content: PlanFile): void {
  writeWhole(file, `${JSON.stringify(planFile.parse(content), null, 1)}\n`);
}
