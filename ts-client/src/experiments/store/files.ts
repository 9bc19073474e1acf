/** Files of the store of experiments: written whole or not at all, private, bounded, and under one lock. */
import { createHash, randomBytes } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import type { z } from "zod";
import { OpswapError } from "../../types/errors.js";
import { locked } from "../file-lock.js";

export const STORE = "OPSWAP_E_EXPERIMENT_STORE";
const MOST_BYTES = 16 << 20;

/** Replaces a file by one that has all of `text`; a reader never sees a part. */
export function writeWhole(file: string, text: string): void {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  const fresh = `${file}.${randomBytes(4).toString("hex")}`;
  writeFileSync(fresh, text, { mode: 0o600, flush: true });
  renameSync(fresh, file);
}

/** A JSON file of the store; undefined where there is none, a refusal that names it where it is not as declared. */
export function readJson<T>(file: string, schema: z.ZodType<T>): T | undefined {
  if (!existsSync(file)) return undefined;
  if (statSync(file).size > MOST_BYTES) throw unreadable(file, `it is over ${MOST_BYTES} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, "utf8"));
  } catch (cause) {
    throw unreadable(file, (cause as Error).message);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw unreadable(file, `${issue?.path.join(".")}: ${issue?.message}`);
}

export function unreadable(file: string, what: string): OpswapError {
  return new OpswapError(STORE, `${file} is not as opswap wrote it: ${what}`);
}

/** Works while no other process of this user changes the store. */
export async function alone<T>(folder: string, work: () => T | Promise<T>): Promise<T> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = path.join(folder, "lock");
  const fd = openSync(file, "a+", 0o600);
  try {
    await locked(fd, file, STORE);
    return await work();
  } finally {
    closeSync(fd);
  }
}

export const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
