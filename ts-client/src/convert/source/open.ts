/** Opens a folder or a file as a source. */
import { existsSync, realpathSync, statSync } from "node:fs";
import path from "node:path";
import { convertError } from "../errors.js";
import { isGguf, openGguf } from "./gguf/checkpoint.js";
import { openSafetensors } from "./safetensors/checkpoint.js";
import type { Source } from "./source.js";

/**
 * Opens a folder, or a single file. `tokenizer` is for GGUF, which has a vocabulary and no files: a folder with the
 * files, "none", or undefined to have them made. `cut` takes files of ranks as well, whose tensors then are NAME@RANK.
 */
export function openSource(given: string, tokenizer?: string, { cut = false } = {}): Source {
  if (!existsSync(given))
    throw convertError("OPSWAP_E_SOURCE", `${given} does not exist`, "name a folder or a file that is there");
  const at = realpathSync(given);
  // A file's name may be that of a link: in a Hugging Face cache, blobs have digests for names.
  const named = statSync(at).isDirectory() ? at : path.resolve(given);
  if (isGguf(named)) return { ...openGguf(named, tokenizer), root: at };
  if (tokenizer === undefined || tokenizer === "none") return openSafetensors(given, at, cut);
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `${given} is no GGUF file: --tokenizer is not for it`,
    "leave it out",
  );
}
