import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { formatNpy, parseNpy } from "./npy.js";
import { formatSafetensors, parseSafetensors } from "./safetensors.js";
import { type FileTensor, fileError } from "./types.js";

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

/** Writes all tensors to a .safetensors file, or the only one to a .npy file. */
export function writeTensors(file: string, tensors: ReadonlyMap<string, FileTensor>): void {
  const [only] = tensors.values();
  if (file.endsWith(".safetensors")) writeBytes(file, formatSafetensors(tensors));
  else if (path.extname(file) !== ".npy") throw fileError(file, "needs the ending .npy or .safetensors");
  else if (tensors.size !== 1 || only === undefined) {
    throw fileError(file, `.npy holds one tensor, there are ${tensors.size}; save as .safetensors`);
  } else writeBytes(file, formatNpy(file, only));
}

function readBytes(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw fileError(file, `cannot be read: ${(error as Error).message}`);
  }
}

function writeBytes(file: string, data: Buffer): void {
  try {
    writeFileSync(file, data);
  } catch (error) {
    throw fileError(file, `cannot be written: ${(error as Error).message}`);
  }
}
