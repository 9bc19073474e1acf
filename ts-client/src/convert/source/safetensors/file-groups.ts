/** Groups files that are parts of one checkpoint by their names, and says which parts are missing. */
import { rankOf } from "./rank-files.js";
import type { WeightMap } from "./weight-map.js";

/** Weights that are one checkpoint, as far as names tell. */
export interface Group {
  /** What messages call it: a file that stands for it. */
  label: string;
  names: readonly string[];
  /** Parts that their names count and that are not there. */
  missing: readonly string[];
  map: WeightMap | null;
  /** The name of the index that has the map. */
  index: string | null;
}

/** model-00001-of-00002, model.safetensors-00001-of-00002, model-00001-of-00002.fp16, model-1. */
const PART =
  /^(?<stem>.*?[-_.]?)(?<no>\d{1,6})(?<of>[-_]of[-_](?<count>\d{1,6}))?(?<tail>(\.[\w-]+)?\.safetensors)$/;

interface Part {
  name: string;
  stem: string;
  digits: string;
  of: string;
  count: number | null;
  tail: string;
}

/** Groups of files without an index, in the order of their first names. */
export function groupsOf(names: readonly string[]): Group[] {
  const groups = new Map<string, Part[]>();
  for (const name of names) {
    const part = partOf(name);
    const key = rankOf(name) === undefined ? `${part.stem}*${part.of}${part.tail}` : "ranks";
    groups.set(key, [...(groups.get(key) ?? []), part]);
  }
  return [...groups].map(([key, parts]) => groupOf(parts, key === "ranks"));
}

function partOf(name: string): Part {
  const { stem = name, no = "", of = "", count, tail = "" } = PART.exec(name)?.groups ?? {};
  // m.fp16 is no sixteenth part of anything.
  if (count === undefined && !/[-_]$/.test(stem))
    return { name, stem: name, digits: "", of: "", count: null, tail: "" };
  return { name, stem, digits: no, of, count: count === undefined ? null : Number(count), tail };
}

function groupOf(parts: readonly Part[], ranks: boolean): Group {
  const names = parts.map(({ name }) => name).sort();
  const missing = ranks || (parts.length === 1 && parts[0]?.count === null) ? [] : missingOf(parts);
  return { label: names[0] ?? "", names, missing, map: null, index: null };
}

/**
 * Parts are counted from 1, or from 0 and then up to the count: gpt-oss's last of 00002 is 00002. Without a count the
 * highest number is the last.
 */
function missingOf(parts: readonly Part[]): string[] {
  const there = new Set(parts.map(({ digits }) => Number(digits)));
  const first = there.has(0) ? 0 : 1;
  const last = parts[0]?.count ?? Math.max(...there);
  const missing: string[] = [];
  for (let no = first; no <= last && missing.length < 1000; no++)
    if (!there.has(no)) missing.push(nameOf(no, parts[0]));
  return missing;
}

function nameOf(no: number, part: Part | undefined): string {
  if (part === undefined) return "";
  return `${part.stem}${String(no).padStart(part.digits.length, "0")}${part.of}${part.tail}`;
}
