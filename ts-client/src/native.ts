/** Loads the native addon, and declares its functions. */
import { createRequire } from "node:module";
import { addonFile, cannotLoad, howToInstall } from "./addon-file.js";
import type { ConvertJob, ConvertResult } from "./types/convert-job.js";
import { OpswapError } from "./types/errors.js";
import { packageVersion } from "./version.js";

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
  /** JSON of a library in a file: its ABI, version, digest and the versions of its ops. */
  readBuild(file: string): string;
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

/** Loaded once per process, by whichever copy of this package asks first: the library keeps one choice of kernels. */
const SHARED = Symbol.for("opswap.native");
interface Loaded {
  file: string;
  version: string;
  native: Native;
}
const shared = globalThis as { [SHARED]?: Loaded };

/** Loads the addon once per process; refused where addon, library or another copy are of another version. */
export function loadNative(): Native {
  const first = shared[SHARED];
  const version = packageVersion();
  if (first?.version === version) return first.native;
  const file = addonFile();
  if (first) throw twoCopies(first, file, version);
  const native = sameVersion(loadFrom(file), file, version);
  shared[SHARED] = { file, version, native };
  return native;
}

/** Loads an addon of any version. */
export function loadFrom(file: string): Native {
  try {
    return createRequire(import.meta.url)(file) as Native;
  } catch (cause) {
    throw cannotLoad(file, cause as Error);
  }
}

/** The library's version is the one that counts: the loader may have taken it from elsewhere. */
export function sameVersion(native: Native, file: string, version: string): Native {
  const { pack_version: found } = JSON.parse(native.version());
  if (found === version) return native;
  const message = `the library that ${file} has loaded is opswap ${found}, this client is ${version}`;
  throw new OpswapError("OPSWAP_E_INSTALL", message, { remedy: howToInstall() });
}

function twoCopies(first: Loaded, file: string, version: string): OpswapError {
  const message = `opswap ${first.version} of ${first.file} runs in this process already; ${version} of ${file} cannot run beside it`;
  return new OpswapError("OPSWAP_E_INSTALL", message, {
    remedy: "keep one version of opswap: `npm ls opswap` shows who brings which",
  });
}
