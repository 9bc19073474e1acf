/** Makes the tokenizer's files from the vocabulary of a GGUF file, in Python. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { childOf, pythonEnvironment } from "../../../python-environment.js";
import { convertError } from "../../errors.js";
import type { SideFile } from "../side-files.js";
import type { Metadata } from "./metadata.js";
import { tokenizerFacts } from "./tokenizer-facts.js";

/** What a tokenizer is made of, and what goes with it. */
const FILES =
  /^(tokenizer\.json|tokenizer_config\.json|tokenizer\.model|special_tokens_map\.json|added_tokens\.json|vocab\.json|merges\.txt|generation_config\.json|chat_template\.(jinja|json)|additional_chat_templates\/[^/]+\.jinja)$/;
const TEMPLATES = "additional_chat_templates";
/** Of the way in which files are made: those of another way are not taken from the cache. */
const MAKER = "2";
const REMEDY = "name a folder with the model's tokenizer by --tokenizer DIR, or say --tokenizer none";

/** The tokenizer's files: copied from a folder, or made from the GGUF file's own vocabulary by transformers. */
export function tokenizerFiles(metadata: Metadata, key: string, given: string | undefined): SideFile[] {
  if (given === "none") return [];
  const folder = given ?? made(metadata, key);
  const names = [...namesIn(folder), ...namesIn(folder, TEMPLATES)].filter((name) => FILES.test(name));
  if (!names.some((name) => /^(tokenizer\.(json|model)|vocab\.json)$/.test(name)))
    throw convertError("OPSWAP_E_SOURCE", `${folder} has no tokenizer`, REMEDY);
  return names.sort().map((name) => {
    const at = path.join(folder, name);
    return { name, path: at, bytes: statSync(at).size };
  });
}

function namesIn(folder: string, below = ""): string[] {
  const at = path.join(folder, below);
  const there = statSync(at, { throwIfNoEntry: false })?.isDirectory() === true;
  return there ? readdirSync(at).map((name) => path.posix.join(below, name)) : [];
}

/** Kept in the cache: a run that goes on, and a verification, need the same bytes. */
function made(metadata: Metadata, key: string): string {
  const cache = process.env.OPSWAP_CACHE ?? path.join(homedir(), ".cache", "opswap");
  const folder = path.join(cache, "tokenizers", `${MAKER}-${key.slice(0, 32)}`);
  if (existsSync(folder)) return folder;
  mkdirSync(path.dirname(folder), { recursive: true });
  const fresh = mkdtempSync(`${folder}.`);
  try {
    make(metadata, fresh);
    if (!existsSync(folder)) renameSync(fresh, folder);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  return folder;
}

function make(metadata: Metadata, folder: string): void {
  const { python, env } = environment();
  const { file } = metadata;
  const args = ["-m", "opswap.gguf_tokenizer", path.resolve(file), folder];
  const input = JSON.stringify(tokenizerFacts(metadata));
  const { status, stderr, error } = spawnSync(python, args, { env: childOf(env), encoding: "utf8", input });
  if (status === 0) return;
  const why = (stderr ?? "").trim().split("\n").at(-1) || (error?.message ?? "");
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `no tokenizer could be made from ${file}: ${why.slice(0, 300)}`,
    REMEDY,
  );
}

function environment() {
  try {
    return pythonEnvironment();
  } catch (error) {
    const why = `transformers is needed to make a tokenizer from a GGUF file: ${(error as Error).message}`;
    throw convertError("OPSWAP_E_CANNOT_CONVERT", why, REMEDY);
  }
}
