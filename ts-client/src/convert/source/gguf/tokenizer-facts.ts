/** What llama.cpp does with a vocabulary beside looking tokens up: as the file says, or by its kind. */
import { convertError } from "../../errors.js";
import type { Metadata } from "./metadata.js";

/** For `python -m opswap.gguf_tokenizer`, which says what each is. */
export interface TokenizerFacts {
  model: string;
  pre: string | null;
  size: number;
  add_bos: boolean;
  add_eos: boolean;
  space_prefix: boolean;
  tokens: Readonly<Record<string, number>>;
  templates: Readonly<Record<string, string>>;
}

/** Byte-level vocabularies that begin texts with a token where the file does not say. */
const BEGIN = new Set(
  "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 tekken chameleon".split(" "),
);
const TEMPLATE = "tokenizer.chat_template";

export function tokenizerFacts(metadata: Metadata): TokenizerFacts {
  const key = (name: string) => `tokenizer.ggml.${name}`;
  const model = metadata.text(key("model")) ?? "";
  const pre = metadata.text(key("pre")) ?? null;
  const pieces = model === "llama";
  const begins = pieces || (model === "gpt2" && pre !== null && BEGIN.has(pre));
  return {
    model,
    pre,
    size: metadata.length(key("tokens")),
    add_bos: metadata.flag(key("add_bos_token")) ?? begins,
    add_eos: metadata.flag(key("add_eos_token")) ?? false,
    space_prefix: metadata.flag(key("add_space_prefix")) ?? pieces,
    tokens: tokensOf(metadata, pieces),
    templates: templatesOf(metadata),
  };
}

const TOKENS = [
  ["bos_token", "bos", 1],
  ["eos_token", "eos", 2],
  ["unk_token", "unknown", 0],
  ["pad_token", "padding"],
  ["sep_token", "seperator"],
  ["mask_token", "mask"],
  ["cls_token", "cls"],
] as const;

/** Vocabularies of pieces have tokens of their own where the file names none. */
function tokensOf(metadata: Metadata, pieces: boolean): Record<string, number> {
  const found = TOKENS.flatMap(([name, key, usual]) => {
    const id = metadata.token(`tokenizer.ggml.${key}_token_id`) ?? (pieces ? usual : undefined);
    if (id !== undefined && id >= metadata.length("tokenizer.ggml.tokens"))
      throw convertError(
        "OPSWAP_E_SOURCE",
        `${metadata.file}: tokenizer.ggml.${key}_token_id is ${id}, which is beyond its tokens`,
        "name a folder with the model's tokenizer by --tokenizer DIR, or say --tokenizer none",
      );
    return id === undefined ? [] : [[name, id] as const];
  });
  return Object.fromEntries(found);
}

/** tokenizer.chat_template is used unasked; others have their names behind it, which chat_templates lists. */
function templatesOf(metadata: Metadata): Record<string, string> {
  const found = [...metadata.entries.keys()]
    .filter((key) => key === TEMPLATE || key.startsWith(`${TEMPLATE}.`))
    .map((key) => [key.slice(TEMPLATE.length + 1) || "default", metadata.text(key) ?? ""] as const);
  const names = new Set(found.map(([name]) => name));
  if (names.size === found.length) return Object.fromEntries(found);
  throw convertError("OPSWAP_E_SOURCE", `${metadata.file} has two chat templates with the name default`);
}
