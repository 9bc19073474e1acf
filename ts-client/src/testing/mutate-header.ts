/** Seeded damage to valid headers, for tests: each mutation is one that a bad disk, tool or attacker could make. */

/** A small generator with a known sequence. */
export function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below);
  };
}

const PIECES = [
  '"',
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  "-",
  "0",
  "9007199254740993",
  "1e999",
  "null",
  "1.5",
  '"BF16"',
  '"F4"',
  '"dtype"',
  '"__metadata__"',
  '"__proto__"',
  "\\",
  "\u0000",
  " ",
  "é",
];

/** One to three random changes: a bit, a piece put in, a range cut out or doubled, a number changed. */
export function mutate(bytes: Buffer, random: (below: number) => number): Buffer {
  let text: Buffer = Buffer.from(bytes);
  for (let left = 1 + random(3); left > 0; left--)
    text = CHANGES[random(CHANGES.length)]?.(text, random) ?? text;
  return text;
}

const CHANGES: ((bytes: Buffer, random: (below: number) => number) => Buffer)[] = [
  (bytes, random) => {
    const at = random(Math.max(1, bytes.length));
    if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
    return bytes;
  },
  (bytes, random) => {
    const at = random(bytes.length + 1);
    const piece = Buffer.from(PIECES[random(PIECES.length)] ?? "");
    return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
  },
  (bytes, random) => {
    const from = random(bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + random(30))]);
  },
  (bytes, random) => {
    const from = random(bytes.length + 1);
    const part = bytes.subarray(from, from + random(60));
    return Buffer.concat([bytes.subarray(0, from), part, bytes.subarray(from)]);
  },
  (bytes, random) => {
    const numbers = [...bytes.toString("latin1").matchAll(/\d+/g)];
    const one = numbers[random(Math.max(1, numbers.length))];
    if (one === undefined) return bytes;
    const values = [String(Number(one[0]) + random(5) - 2), "0", String(random(1 << 30)), "-1", `${one[0]}0`];
    const value = Buffer.from(values[random(values.length)] ?? "0");
    return Buffer.concat([bytes.subarray(0, one.index), value, bytes.subarray(one.index + one[0].length)]);
  },
];
