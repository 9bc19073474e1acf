/** Finds the name that a misspelt one probably meant. */

/** Of these names the one that was probably meant: up to every second letter may be a slip. */
export function nearest(name: string, names: Iterable<string>): string | undefined {
  let found: string | undefined;
  let least = Math.max(1, Math.floor(name.length / 2)) + 1;
  for (const candidate of names) {
    const slips = distance(name.toLowerCase(), candidate.toLowerCase());
    if (slips < least) [found, least] = [candidate, slips];
  }
  return found;
}

/** The end of a sentence that refuses a name; empty when none is near. */
export function didYouMean(name: string, names: Iterable<string>): string {
  const near = nearest(name, names);
  return near === undefined ? "" : `; did you mean ${near}?`;
}

/** Letters that are put in, left out, replaced, or exchanged with their neighbour. */
function distance(a: string, b: string): number {
  let [older, old] = [[] as number[], Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (old[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let slips = Math.min((old[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, replaced);
      const exchanged = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (exchanged) slips = Math.min(slips, (older[j - 2] ?? 0) + 1);
      row.push(slips);
    }
    [older, old] = [old, row];
  }
  return old[b.length] ?? 0;
}
