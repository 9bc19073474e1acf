/** Refuses codes that no dialect took. */
import type { Located } from "../source.js";
import { ORIGINAL, type Reading } from "./reading.js";

/** Codes whose type says so. */
const CODE_TYPE = /^F[468](_|$)/;
/** Names that only parts of quantised layers have. */
const PART =
  /(^|[._])(weight_(scale(_inv|_2|s)?|zero_point|packed|g_idx|global_scale|shape)|qweight|qzeros|weight\.(absmax|quant_map|nested_absmax|quant_state\.\w+))$/;
/** What else belongs to codes where a source is quantised. */
const QUANTIZED_PART =
  /(^|\.)(scales|zeros|g_idx|SCB|trellis|mcg|suh|svh|q_weight|W_q)$|_scale_inv$|_proj_(scale|blocks|scales)$/;
const BYTES = new Set(["I8", "U8"]);

/**
 * Refuses codes that no dialect took, and what belongs to codes that are not there: copied, they would be other weights,
 * or what no loader asks for.
 */
export function refuseUnknownCodes(reading: Reading, quantized: boolean): void {
  const left = [...reading.all].filter(({ tensor }) => !reading.isTaken(tensor.name));
  const codes = left.find(({ tensor: { name, dtype, shape } }) => {
    const bytes = BYTES.has(dtype) && shape.length > 1 && /(^|\.)weight$/.test(name);
    return CODE_TYPE.test(dtype) || bytes;
  });
  if (codes !== undefined) throw reading.wrong(codes, "is codes of no form that is read", ORIGINAL);
  const part = left.find(
    ({ tensor: { name } }) => PART.test(name) || (quantized && QUANTIZED_PART.test(name)),
  );
  if (part !== undefined) throw orphan(reading, part);
}

function orphan(reading: Reading, one: Located): Error {
  return reading.wrong(
    one,
    "belongs to quantised weights, and no codes that are read are its own",
    `fetch the file that has them, or ${ORIGINAL}`,
  );
}
