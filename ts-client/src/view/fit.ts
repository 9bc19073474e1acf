/** Fits text into a width: wraps lines, and shortens names so that they stay distinct. */

/** Text in lines of at most `width`, broken between words; lines after the first start `hang` columns in. */
export function wrap(text: string, width: number, hang = 0): string[] {
  const lines: string[] = [];
  // A deep indent would leave a column too narrow to read.
  const indent = " ".repeat(width - hang >= 16 ? hang : Math.min(hang, 4, Math.floor(width / 4)));
  let rest = text;
  while (rest.length > width) {
    const space = rest.lastIndexOf(" ", width);
    const end = space > indent.length ? space : width;
    lines.push(rest.slice(0, end).trimEnd());
    rest = indent + rest.slice(end).trimStart();
  }
  return [...lines, rest];
}

/** What each name is shown as in `width` columns: cut in the middle where it is longer, and never two alike. */
export function shortNames(names: Iterable<string>, width: number): Map<string, string> {
  const all = [...new Set(names)];
  const shown = new Map(all.filter((name) => name.length <= width).map((name) => [name, name]));
  const taken = new Set(shown.keys());
  for (const name of all.filter((one) => one.length > width)) {
    const short = cuts(name, width).find((cut) => !taken.has(cut)) ?? numbered(name, width, taken);
    taken.add(short);
    shown.set(name, short);
  }
  return shown;
}

/** Every way to leave a piece out, that from the middle first. */
function cuts(name: string, width: number): string[] {
  const kept = Math.max(0, width - 1);
  const tails = Array.from({ length: kept + 1 }, (_, tail) => tail);
  tails.sort((a, b) => Math.abs(a - kept / 2) - Math.abs(b - kept / 2));
  return tails.map((tail) => `${name.slice(0, kept - tail)}…${name.slice(name.length - tail)}`);
}

function numbered(name: string, width: number, taken: ReadonlySet<string>): string {
  for (let number = 1; ; number++) {
    const mark = `~${number}`;
    const short = `${name.slice(0, Math.max(0, width - mark.length))}${mark}`;
    if (!taken.has(short)) return short;
  }
}
