/** Text files of any length, of which only a piece is in memory. */
import { closeSync, fsyncSync, openSync, readSync, renameSync, rmSync, writeSync } from "node:fs";

const PIECE = 1 << 18;

/** Writes a new file. */
export function writeText(file: string, parts: Iterable<string>): void {
  const fd = openSync(file, "w");
  try {
    for (const piece of gathered(parts)) writeAll(fd, piece);
  } finally {
    closeSync(fd);
  }
}

/** Writes a file anew; it is the old one or the new one at any time. */
export function replaceFile(file: string, parts: Iterable<string>): void {
  const fresh = `${file}.${process.pid}`;
  try {
    writeText(fresh, parts);
    const fd = openSync(fresh, "r");
    fsyncSync(fd);
    closeSync(fd);
    renameSync(fresh, file);
  } finally {
    rmSync(fresh, { force: true });
  }
}

function writeAll(fd: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
}

/** A file's bytes, piece by piece; each is its own buffer. */
export function* piecesOf(file: string): Generator<Buffer> {
  const fd = openSync(file, "r");
  try {
    for (;;) {
      const piece = Buffer.alloc(PIECE);
      const read = readSync(fd, piece);
      if (read === 0) return;
      yield piece.subarray(0, read);
    }
  } finally {
    closeSync(fd);
  }
}

/** Whether a file is these parts and nothing more. */
export function holds(file: string, parts: Iterable<string | Buffer>): boolean {
  const fd = openSync(file, "r");
  try {
    for (const part of gathered(parts)) {
      const there = Buffer.alloc(part.length);
      if (readSync(fd, there) < part.length || !there.equals(part)) return false;
    }
    return readSync(fd, Buffer.alloc(1)) === 0;
  } finally {
    closeSync(fd);
  }
}

/** The same bytes in pieces of a size that is worth a call. */
function* gathered(parts: Iterable<string | Buffer>): Generator<Buffer> {
  let piece: Buffer[] = [];
  let bytes = 0;
  for (const part of parts) {
    piece.push(Buffer.from(part));
    bytes += piece.at(-1)?.length ?? 0;
    if (bytes < PIECE) continue;
    yield Buffer.concat(piece);
    [piece, bytes] = [[], 0];
  }
  yield Buffer.concat(piece);
}

export interface Line {
  text: string;
  /** Where the next one begins in the file, in bytes. */
  end: number;
}

/** Lines that end with a line feed, without it; what follows the last one is left out. */
export function* wholeLines(file: string): Generator<Line> {
  let rest = Buffer.alloc(0);
  let before = 0;
  for (const piece of piecesOf(file)) {
    const bytes = Buffer.concat([rest, piece]);
    let begin = 0;
    for (let at = bytes.indexOf("\n"); at >= 0; at = bytes.indexOf("\n", begin)) {
      yield { text: bytes.toString("utf8", begin, at), end: before + at + 1 };
      begin = at + 1;
    }
    before += begin;
    rest = bytes.subarray(begin);
  }
}
