/**
 * OUTPUT.partial, the locked folder in which an output grows until it is renamed; file locks and syncs for
 * it.
 */
import {
  closeSync,
  copyFileSync,
  existsSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { constants } from "node:os";
import path from "node:path";
import { loadNative } from "../../native.js";
import { convertError, errnoName } from "../errors.js";
import { writeText } from "../text/text-file.js";

const OWN = ".opswap";

/**
 * The folder in which an output comes into being, beside its place. It is locked by its own file descriptor, which
 * the system closes whatever happens to the process, and takes its final name when it is whole.
 */
export class Staging {
  readonly folder: string;
  readonly #target: string;
  readonly #fd: number;

  private constructor(target: string, folder: string, fd: number) {
    this.#target = target;
    this.folder = folder;
    this.#fd = fd;
  }

  /** Takes the staging folder of `target`, new or left over, for itself or with others that share it. */
  static take(target: string, options: { restart?: boolean; shared?: boolean } = {}): Staging {
    const folder = `${target}.partial`;
    mkdirSync(path.dirname(target), { recursive: true });
    for (;;) {
      mkdirSync(folder, { recursive: true });
      const fd = openSync(folder, "r");
      lock(fd, folder, options.shared);
      // The one who held it may have published or removed it in between.
      if (!isSame(fd, folder)) {
        closeSync(fd);
        continue;
      }
      if (options.restart)
        for (const name of readdirSync(folder)) rmSync(path.join(folder, name), { recursive: true });
      mkdirSync(path.join(folder, OWN), { recursive: true });
      return new Staging(target, folder, fd);
    }
  }

  /** The journal of a whole run. */
  get journal(): string {
    return path.join(this.folder, OWN, "journal.jsonl");
  }

  /** The journal of part `index` of `count`. */
  partJournal({ index, count }: { index: number; count: number }): string {
    return path.join(this.folder, OWN, `part-${index}-of-${count}.jsonl`);
  }

  /** Every journal in it, whoever wrote it. */
  journals(): string[] {
    const own = path.join(this.folder, OWN);
    const names = readdirSync(own).filter((name) => name.endsWith(".jsonl"));
    return names.sort().map((name) => path.join(own, name));
  }

  file(name: string): string {
    return path.join(this.folder, name);
  }

  /** Writes a small file so that it is there whole or not at all, after a power cut too. */
  write(name: string, parts: Iterable<string>): void {
    writeText(this.#fresh, parts);
    this.#place(name);
  }

  copy(name: string, from: string): void {
    copyFileSync(from, this.#fresh);
    this.#place(name);
  }

  get #fresh(): string {
    return path.join(this.folder, OWN, "fresh");
  }

  #place(name: string): void {
    const fd = openSync(this.#fresh, "r+");
    fsyncSync(fd);
    closeSync(fd);
    mkdirSync(path.dirname(this.file(name)), { recursive: true });
    renameSync(this.#fresh, this.file(name));
  }

  /** Gives the output its name. Everything in it is on disk before. */
  publish(): void {
    rmSync(path.join(this.folder, OWN), { recursive: true, force: true });
    fsyncSync(this.#fd);
    renameSync(this.folder, this.#target);
    syncFolder(path.dirname(this.#target));
  }

  release(): void {
    closeSync(this.#fd);
  }
}

/** Locks an open file or folder, or closes it and refuses. */
export function lock(fd: number, name: string, shared = false): void {
  const errno = loadNative().lockFile(fd, shared);
  if (errno === 0) return;
  closeSync(fd);
  if (errno === constants.errno.EWOULDBLOCK)
    throw convertError("OPSWAP_E_OUTPUT_BUSY", `${name} is being written by another process`);
  throw convertError("OPSWAP_E_OUTPUT", `${name} cannot be locked: ${errnoName(errno)}`);
}

function isSame(fd: number, folder: string): boolean {
  const there = statSync(folder, { throwIfNoEntry: false, bigint: true });
  const held = fstatSync(fd, { bigint: true });
  return there !== undefined && there.ino === held.ino && there.dev === held.dev;
}

export function syncFolder(folder: string): void {
  const fd = openSync(folder, "r");
  fsyncSync(fd);
  closeSync(fd);
}

/** Refuses an output that lies in the source, or the other way round. */
export function checkApart(source: string, target: string): void {
  const real = (given: string): string =>
    existsSync(given) ? realpathSync(given) : path.join(real(path.dirname(given)), path.basename(given));
  const from = real(path.resolve(source));
  const to = real(path.resolve(target));
  const inside = (a: string, b: string) => a === b || a.startsWith(`${b}${path.sep}`);
  if (inside(to, from) || inside(from, to))
    throw convertError("OPSWAP_E_OUTPUT", `the output ${target} and the source ${source} lie in each other`);
}
