/** Puts ranks together that answer the same. */
import type { RankWhy } from "../generated/messages.js";

/** Ranks that say the same are one group. */
export function groupRanks(ranks: readonly RankWhy[]): { where: string; why: RankWhy }[] {
  const groups = new Map<string, { ranks: number[]; why: RankWhy }>();
  for (const why of ranks) {
    const key = JSON.stringify({ ...why, rank: 0 });
    const group = groups.get(key) ?? { ranks: [], why };
    group.ranks.push(why.rank);
    groups.set(key, group);
  }
  return [...groups.values()].map(({ ranks: same, why }) => ({
    where: same.length === 1 ? `rank ${same[0]}` : `ranks ${same.join(", ")}`,
    why,
  }));
}
