/** Loads the native addon, and declares its functions. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { ConvertJob, ConvertResult } from "./types/convert-job.js";
import { OpswapError } from "./types/errors.js";

/** A tensor descriptor of the addon; keeps the buffer it was made from alive. */
export interface NativeTensor {
  readonly __nativeTensor: unique symbol;
}

export type NativeArgument = NativeTensor | number | bigint | boolean | string | null;

/** The addon, function by function. Failures are Errors whose `code` is OPSWAP_E_*. */
export interface Native {
  /** JSON. */
  manifest(): string;
  /** JSON of the Version of ipc/messages.json. */
  version(): string;
  /** JSON. */
  stats(): string;
  resetStats(): void;
  /** JSON; with arguments it also says which implementations can run those. */
  why(op: string, args?: readonly NativeArgument[]): string;
  /** Returns the implementation that was active before. */
  use(op: string, impl: string): string;
  setThreads(count: number): void;
  getThreads(): number;
  /** Strides are in elements; without them the tensor is contiguous. */
  tensor(
    data: ArrayBuffer | NodeJS.TypedArray,
    dtype: string,
    shape: readonly number[],
    strides?: readonly number[],
    byteOffset?: number,
  ): NativeTensor;
  call(op: string, args: readonly NativeArgument[], impl?: string, plan?: Uint8Array): void;
  /** Empty where the implementation makes none. */
  plan(op: string, args: readonly NativeArgument[], impl?: string): Uint8Array;
  /** Makes a POSIX shared-memory segment and maps it; it is unmapped with the last reference to the buffer. */
  shmCreate(name: string, bytes: number): ArrayBuffer;
  /** Maps a segment of this user's. */
  shmOpen(name: string, bytes: number): ArrayBuffer;
  /** Removes the name; a name that is gone already is not an error. */
  shmUnlink(name: string): void;
  /** Converts one tensor on threads of its own. */
  convertTensor(job: ConvertJob): Promise<ConvertResult>;
  /** Locks an open file for this process, or with others that share it, until it is closed; 0, or the error's number. Never waits. */
  lockFile(fd: number, shared?: boolean): number;
  /** Gives a file its length and its room on disk; 0, or the error's number. */
  reserve(fd: number, bytes: number): number;
}

const HERE = path.dirname(fileURLToPath(import.meta.url));
let loaded: Native | undefined;

/** Places where the addon may lie: OPSWAP_NODE alone when it is set, else the build folder of this checkout. */
export function addonPaths(env: NodeJS.ProcessEnv = process.env): string[] {
  if (env.OPSWAP_NODE) return [path.resolve(env.OPSWAP_NODE)];
  const roots = [path.resolve(HERE, ".."), path.resolve(HERE, "..", "..")];
  return roots.map((root) => path.join(root, "build", "native", "opswap.node"));
}

/** Loads the addon once per process. */
export function loadNative(): Native {
  loaded ??= loadFrom(addonPaths());
  return loaded;
}

/** Loads the first addon that exists among `paths`. */
export function loadFrom(paths: readonly string[]): Native {
  const file = paths.find((candidate) => existsSync(candidate));
  if (file === undefined) {
    throw new OpswapError("OPSWAP_E_NATIVE", `no addon at ${paths.join(" or ")}`, { remedy: remedy() });
  }
  try {
    return createRequire(import.meta.url)(file) as Native;
  } catch (cause) {
    throw new OpswapError("OPSWAP_E_NATIVE", `${file} cannot be loaded: ${(cause as Error).message}`, {
      remedy: remedy(),
      cause,
    });
  }
}

/** A build does not help where the setting names another file. */
function remedy(): string {
  const built = "run `npm run build`";
  return process.env.OPSWAP_NODE
    ? `set OPSWAP_NODE to an opswap.node that is built, or unset it and ${built}`
    : built;
}
