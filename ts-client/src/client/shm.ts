/** Shared-memory segments for tensors, kept in a pool and used again. */
import type { Native } from "../native.js";
import { OpswapError } from "../types/errors.js";
import { startTime } from "./process.js";
import { segmentError, systemErrno } from "./shm-error.js";

/** A piece of shared memory that one tensor lies in. */
export interface Segment {
  readonly name: string;
  readonly buffer: ArrayBuffer;
}

/** The part of the addon that the pool needs. */
export type SharedMemory = Pick<Native, "shmCreate" | "shmUnlink">;

const SMALLEST = 65_536;
/** Free segments worth keeping: their pages are in memory, and touching new ones costs more than most ops. */
const KEEP_BYTES = 2 ** 30;

let segments = 0;
const open = new Set<SegmentPool>();

/** Segments by size class, used again as they are: making one and touching its pages costs milliseconds. */
export class SegmentPool {
  readonly #memory: SharedMemory;
  readonly #prefix: string;
  /** Those in use; a segment is here or on a shelf, so that releasing it twice is harmless. */
  readonly #used = new Set<Segment>();
  readonly #free = new Map<number, Segment[]>();
  #freeBytes = 0;

  constructor(memory: SharedMemory) {
    this.#memory = memory;
    this.#prefix = `opswap-${process.pid}-${startTime(process.pid) ?? 0}`;
    if (open.size === 0) process.once("exit", closeAll);
    open.add(this);
  }

  /** A segment of at least `bytes`; its content is what its last user left. */
  take(bytes: number): Segment {
    if (!open.has(this)) throw new OpswapError("OPSWAP_E_CLOSED", "shared memory: the pool is closed");
    const size = sizeClass(bytes);
    const segment = this.#free.get(size)?.pop();
    if (segment) this.#freeBytes -= size;
    const taken = segment ?? this.#make(size);
    this.#used.add(taken);
    return taken;
  }

  /** Gives a segment back; it must not be used after. */
  release(segment: Segment): void {
    if (!this.#used.delete(segment)) return;
    const size = segment.buffer.byteLength;
    if (this.#freeBytes + size > KEEP_BYTES) {
      this.#unlink(segment.name);
      return;
    }
    this.#freeBytes += size;
    const shelf = this.#free.get(size) ?? [];
    shelf.push(segment);
    this.#free.set(size, shelf);
  }

  /** Removes every name. Memory goes away when the last view of it does, here and in the sidecar. */
  close(): void {
    if (!open.delete(this)) return;
    if (open.size === 0) process.removeListener("exit", closeAll);
    for (const { name } of [...this.#used, ...[...this.#free.values()].flat()]) this.#unlink(name);
    this.#used.clear();
    this.#free.clear();
  }

  /** A name that cannot be removed, since /dev/shm has become read-only for one, is left to the sidecar's sweep. */
  #unlink(name: string): void {
    try {
      this.#memory.shmUnlink(name);
    } catch (error) {
      if (systemErrno(error) === undefined) throw error;
    }
  }

  #make(size: number): Segment {
    const name = `${this.#prefix}-${++segments}`;
    try {
      return { name, buffer: this.#memory.shmCreate(name, size) };
    } catch (error) {
      throw segmentError(error, size);
    }
  }
}

/** Four classes per power of two: few shelves, and at most a quarter of the reserved memory is not asked for. */
export function sizeClass(bytes: number): number {
  if (bytes <= SMALLEST) return SMALLEST;
  const step = 2 ** (Math.floor(Math.log2(bytes)) - 2);
  return Math.ceil(bytes / step) * step;
}

function closeAll(): void {
  for (const pool of open) pool.close();
}
