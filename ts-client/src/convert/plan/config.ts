/** config.json of an output: the source's, with the block of the new layout in place of the old one. */
import { z } from "zod";
import { convertError } from "../errors.js";
import { bf16, type Format } from "../formats/index.js";
import { checkOneMeaning, quantizationBlocks } from "../source/quantization-blocks.js";
import type { Source } from "../source/source.js";
import { withKey, withoutKey, withoutPath } from "../text/json-text.js";
import { parseJsonText } from "../text/python-json.js";

const json = z.record(z.string(), z.unknown());

/** config.json of an output. The source's text is kept but for the change: JavaScript would write 10000.0 as 10000. */
export function outputConfig(
  source: Pick<Source, "config" | "fp8">,
  format: Format,
  block: Record<string, unknown> | null,
): string {
  const plain = withoutQuantization(source.config ?? "{}", source.fp8 === true);
  const key = "quantization_config"; // it may be there as null
  if (block !== null) return withKey(withoutKey(plain, key), key, block);
  return format === bf16 ? inBf16(plain) : plain;
}

/** Blocks of other tools, with whose codes this version cannot do anything, are refused. */
function withoutQuantization(text: string, known: boolean): string {
  const blocks = quantizationBlocks(json.parse(parseJsonText(text)));
  const [present] = blocks;
  if (present === undefined) return text;
  checkOneMeaning(blocks);
  if (known) return blocks.reduce((changed, { path }) => withoutPath(changed, path), text);
  const method = json.safeParse(present.block).data?.quant_method;
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `config.json has ${present.path.join(".")}${typeof method === "string" ? ` (${method})` : ""}: the source is quantised already, in a way that is not read`,
    "give the checkpoint that this was made from; docs/convert-reference.md lists what is read",
  );
}

/** Engines choose their own precision by these. */
function inBf16(text: string): string {
  const config = json.parse(parseJsonText(text));
  const keys = ["torch_dtype", "dtype"].filter((key) => typeof config[key] === "string");
  return keys.reduce((changed, key) => withKey(withoutKey(changed, key), key, "bfloat16"), text);
}
