/** Parts of a conversion (--shard): which tensors each has, and whether all are done. */
import { convertError } from "../errors.js";
import type { Plan, PlannedFile, PlannedTensor } from "../plan/types.js";
import { sum } from "../sum.js";

/** One of `count` shares of a conversion, from 1. */
export interface Part {
  index: number;
  count: number;
}

/** Reads `2/8`. */
export function parsePart(text: string): Part | undefined {
  const [, index, count] = /^(\d+)\/(\d+)$/.exec(text)?.map(Number) ?? [];
  if (index === undefined || count === undefined) return undefined;
  return index >= 1 && index <= count ? { index, count } : undefined;
}

/** How many parts there were, by a part's journal. */
export function countOf(journal: string): number {
  return Number(/-of-(\d+)\.jsonl$/.exec(journal)?.[1] ?? 1);
}

/**
 * The files and tensors of a part: a run of neighbours, cut by bytes of the source. A tensor belongs where its middle
 * falls, so every machine makes the same cut from the headers alone.
 */
export function filesOf(plan: Plan, part: Part): PlannedFile[] {
  const total = sum(plan.files, (file) => sum(file.tensors, bytesOf));
  let before = 0;
  return plan.files.flatMap((file) => {
    const tensors = file.tensors.filter((tensor) => {
      const middle = before + bytesOf(tensor) / 2;
      before += bytesOf(tensor);
      const share = total === 0 ? 0 : Math.floor((middle / total) * part.count);
      return Math.min(share, part.count - 1) === part.index - 1;
    });
    const empty = file.tensors.length === 0 && part.index === 1;
    return tensors.length > 0 || empty ? [{ ...file, tensors }] : [];
  });
}

function bytesOf({ source }: PlannedTensor): number {
  return source.end - source.begin;
}

/** Refuses to go on while tensors are missing; names the parts that would write them. */
export function checkComplete(
  plan: Plan,
  done: ReadonlyMap<string, unknown>,
  counts: readonly number[],
): void {
  const missing = plan.files.flatMap(({ tensors }) => tensors.filter(({ name }) => !done.has(name)));
  const [first] = missing;
  if (first === undefined) return;
  const names = new Set(missing.map(({ name }) => name));
  const count = Math.max(1, ...counts);
  const parts = Array.from({ length: count }, (_, i) => ({ index: i + 1, count })).filter((part) =>
    filesOf(plan, part).some(({ tensors }) => tensors.some(({ name }) => names.has(name))),
  );
  const shares = parts.slice(0, 8).map(({ index }) => `--shard ${index}/${count}`);
  const more = parts.length > shares.length ? `, and ${parts.length - shares.length} more` : "";
  throw convertError(
    "OPSWAP_E_UNFINISHED",
    `${missing.length} tensors are not converted, the first is ${first.name}: run ${shares.join(", ")}${more}`,
  );
}
