/** Reads numbers and strings of a GGUF file one after another, within its bounds. */
import { readSync } from "node:fs";
import { convertError } from "../../errors.js";

const WINDOW = 1 << 20;
/** Longer strings are no names or templates; a limit on what one length field can make us allocate. */
const MOST_STRING = 16 << 20;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads a file from its start, never beyond its end: each length is compared with what is left before it is used. */
export class Cursor {
  readonly file: string;
  readonly #fd: number;
  readonly #size: number;
  #window = Buffer.alloc(0);
  /** Where the window begins in the file, and how far it was read. */
  #begin = 0;
  #at = 0;

  constructor(file: string, fd: number, size: number) {
    this.file = file;
    this.#fd = fd;
    this.#size = size;
  }

  get position(): number {
    return this.#begin + this.#at;
  }

  get left(): number {
    return this.#size - this.position;
  }

  broken(problem: string): Error {
    return convertError("OPSWAP_E_SOURCE", `${this.file}: ${problem}`);
  }

  /** The next bytes, which stay valid until the next call. */
  take(bytes: number, what: string): Buffer {
    this.need(bytes, what);
    if (this.#at + bytes > this.#window.length) this.#refill(bytes);
    const taken = this.#window.subarray(this.#at, this.#at + bytes);
    this.#at += bytes;
    return taken;
  }

  skip(bytes: number, what: string): void {
    this.need(bytes, what);
    const within = this.#at + bytes <= this.#window.length;
    if (within) this.#at += bytes;
    else [this.#begin, this.#at, this.#window] = [this.position + bytes, 0, Buffer.alloc(0)];
  }

  need(bytes: number, what: string): void {
    if (!(bytes <= this.left))
      throw this.broken(`${what} at byte ${this.position} needs ${bytes} bytes, ${this.left} are left`);
  }

  u32(what: string): number {
    return this.take(4, what).readUInt32LE(0);
  }

  /** A 64-bit length; one that no file can have is refused here. */
  size(what: string): number {
    const value = this.take(8, what).readBigUInt64LE(0);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.broken(`${what} is ${value}`);
    return Number(value);
  }

  string(what: string): string {
    const bytes = this.size(`length of ${what}`);
    if (bytes > MOST_STRING) throw this.broken(`${what} has ${bytes} bytes; ${MOST_STRING} are allowed`);
    const text = this.take(bytes, what);
    try {
      return utf8.decode(text);
    } catch {
      throw this.broken(`${what} at byte ${this.position - bytes} is not UTF-8`);
    }
  }

  #refill(bytes: number): void {
    const begin = this.position;
    const window = Buffer.alloc(Math.min(Math.max(bytes, WINDOW), this.#size - begin));
    let filled = 0;
    while (filled < window.length) {
      const count = readSync(this.#fd, window, filled, window.length - filled, begin + filled);
      if (count === 0) throw this.broken(`was cut to ${begin + filled} bytes while it was read`);
      filled += count;
    }
    [this.#begin, this.#at, this.#window] = [begin, 0, window];
  }
}
