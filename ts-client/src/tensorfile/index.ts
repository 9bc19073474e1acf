/** Reads and writes tensor files that are named on the command line. */
import { accessSync, constants, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { OpswapError } from "../types/errors.js";
import { systemError } from "../types/system-error.js";
import { checkNpy, formatNpy, parseNpy } from "./npy.js";
import { parseRecording, type Recording } from "./recording.js";
import { formatSafetensors, parseSafetensors } from "./safetensors.js";
import { type FileTensor, fileError } from "./types.js";

export type { Recording } from "./recording.js";
export type { FileTensor } from "./types.js";

/** Whether a word on the command line is a tensor file: FILE.npy, FILE.safetensors, or FILE.safetensors#NAME. */
export function isTensorFile(word: string): boolean {
  return /\.npy$|\.safetensors(#.+)?$/.test(word);
}

/** Reads FILE.npy, FILE.safetensors#NAME, or tensor `fallback` of FILE.safetensors. */
export function readTensor(word: string, fallback: string): FileTensor {
  const [file = word, key = fallback] = word.split("#", 2);
  const data = readBytes(file);
  if (file.endsWith(".npy")) return parseNpy(file, data);
  const tensors = parseSafetensors(file, data);
  const found =
    tensors.get(key) ?? (tensors.size === 1 && !word.includes("#") ? [...tensors.values()][0] : undefined);
  if (found) return found;
  throw fileError(file, `has no tensor ${key}; it has ${[...tensors.keys()].join(", ")}`);
}

/** Reads a recording of a call. */
export function readRecording(file: string): Recording {
  return parseRecording(file, readBytes(file));
}

/**
 * Refuses a file that these tensors cannot be written to, as far as that can be told before their values are there:
 * its ending, what it holds, and where it lies.
 */
export function checkTarget(file: string, tensors: ReadonlyMap<string, FileTensor>): void {
  contents(file, tensors);
  const folder = path.dirname(path.resolve(file));
  try {
    if (statSync(file, { throwIfNoEntry: false })?.isDirectory())
      throw Object.assign(new Error("EISDIR"), { code: "EISDIR" });
    if (!statSync(folder).isDirectory()) throw Object.assign(new Error("ENOTDIR"), { code: "ENOTDIR" });
    accessSync(folder, constants.W_OK);
  } catch (error) {
    throw refused(file, "written", error);
  }
}

/** Writes all tensors to a .safetensors file, or the only one to a .npy file: whole, or not at all. */
export function writeTensors(file: string, tensors: ReadonlyMap<string, FileTensor>): void {
  const data = contents(file, tensors)();
  const draft = `${file}.${process.pid}.tmp`;
  try {
    writeFileSync(draft, data);
    renameSync(draft, file);
  } catch (error) {
    rmSync(draft, { force: true });
    throw refused(file, "written", error);
  }
}

/** The bytes to be written, once they are asked for. */
function contents(file: string, tensors: ReadonlyMap<string, FileTensor>): () => Buffer {
  if (file.endsWith(".safetensors")) return () => formatSafetensors(tensors);
  if (path.extname(file) !== ".npy")
    throw fileError(file, "needs the ending .npy or .safetensors", "name FILE.npy or FILE.safetensors");
  const [only] = tensors.values();
  if (tensors.size !== 1 || only === undefined) {
    const problem = `.npy holds one tensor, there are ${tensors.size}; save as .safetensors`;
    throw fileError(file, problem, "name FILE.safetensors");
  }
  checkNpy(file, only.dtype);
  return () => formatNpy(file, only);
}

function readBytes(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw refused(file, "read", error);
  }
}

/** What is wrong with the name is the command line's fault; a full disk or a limit of the machine is not. */
const OF_THE_NAME = /^(ENOENT|ENOTDIR|EISDIR|EACCES|EPERM|EROFS|ELOOP|ENAMETOOLONG|ERR_FS_FILE_TOO_LARGE)$/;

function refused(file: string, what: string, error: unknown): unknown {
  const { code = "", message } = error as NodeJS.ErrnoException;
  const known = systemError(error);
  const problem = `cannot be ${what}: ${known?.message.split(": ").at(-1) ?? message}`;
  if (known === undefined || OF_THE_NAME.test(code)) return fileError(file, problem, known?.remedy);
  return new OpswapError(known.code, `${file}: ${problem}`, { remedy: known.remedy, cause: error });
}
