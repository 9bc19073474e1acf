/** JSON as Python's json module writes and reads it: with NaN and infinities, which standard JSON has not. */
import { readFileSync } from "node:fs";
import { convertError } from "../errors.js";
import { endOfString } from "./duplicate-keys.js";

const WORDS = /NaN|-?Infinity/y;
/** In a list of its own it stands for NaN until JSON.parse is through: a list is no key. No checkpoint has such a string. */
const NAN = "\u0000NaN\u0000";

/** The value of a JSON text, `NaN`, `Infinity` and `-Infinity` included. Throws what JSON.parse throws. */
export function parseJsonText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const plain = withoutWords(text);
    if (plain === text) throw error;
    return JSON.parse(plain, (_key, value: unknown) => (isNan(value) ? Number.NaN : value));
  }
}

const isNan = (value: unknown) => Array.isArray(value) && value.length === 1 && value[0] === NAN;

/** What JSON.parse reads as the word's value; the blanks keep it apart from digits before and after it. */
function plainOf(word: string): string {
  if (word === "NaN") return ` ${JSON.stringify([NAN])} `;
  return word.startsWith("-") ? " -1e999 " : " 1e999 ";
}

function withoutWords(text: string): string {
  let out = "";
  let copied = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '"') {
      at = endOfString(text, at);
      if (at < 0) break;
      continue;
    }
    WORDS.lastIndex = at;
    const word = WORDS.exec(text)?.[0];
    if (word === undefined) continue;
    out += text.slice(copied, at) + plainOf(word);
    at += word.length - 1;
    copied = at + 1;
  }
  return out + text.slice(copied);
}

const DAMAGED = "mend it, or fetch it again";

/** The value in a JSON file of a checkpoint. */
export function parseJson(file: string): unknown {
  const text = readFileSync(file, "utf8");
  try {
    return parseJsonText(text);
  } catch (error) {
    throw convertError(
      "OPSWAP_E_SOURCE",
      `${file} is not JSON: ${(error as Error).message.slice(0, 120)}`,
      DAMAGED,
    );
  }
}
