import { z } from "zod";
import { convertError } from "./errors.js";

const json = z.record(z.string(), z.unknown());

/**
 * config.json with a quantisation block. The text is kept but for the addition: JavaScript would write 10000.0 as an
 * integer.
 */
export function withQuantization(text: string, block: Record<string, unknown>): string {
  const config = json.parse(JSON.parse(text));
  const present = ["quantization_config", "compression_config"].find((key) => Object.hasOwn(config, key));
  if (present !== undefined) {
    const method = json.safeParse(config[present]).data?.quant_method;
    throw convertError(
      "OPSWAP_E_UNSUPPORTED",
      `config.json has ${present}${typeof method === "string" ? ` (${method})` : ""}: the source is quantised already`,
      "this version reads BF16, F16 and F32 checkpoints; give the one that this was made from",
    );
  }
  const end = text.lastIndexOf("}");
  const before = text.slice(0, end).trimEnd();
  const comma = Object.keys(config).length === 0 ? "" : ",";
  const value = JSON.stringify(block, null, 2).replaceAll("\n", "\n  ");
  return `${before}${comma}\n  "quantization_config": ${value}\n${text.slice(end)}`;
}
