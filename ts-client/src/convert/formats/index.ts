/** All layouts that can be written, by id. */
import { convertError } from "../errors.js";
import { bf16 } from "./bf16.js";
import { ctFp8Block, ctFp8Channel, ctFp8Tensor } from "./compressed-tensors.js";
import { fp8Block128 } from "./fp8-block128.js";
import { fp8Tensor } from "./fp8-tensor.js";
import { fp8Block128Pad4, fp8Channel } from "./opswap.js";
import type { Format } from "./types.js";
import { w4a8Vllm, w4a8VllmMixed } from "./w4a8-vllm.js";
import { w4a8Sglang, w4a8Trtllm } from "./w4afp8.js";

export type { Scheme } from "../../types/convert-job.js";
export type { Format } from "./types.js";
export { bf16 };

export const FORMATS: readonly Format[] = [
  fp8Block128,
  fp8Tensor,
  ctFp8Tensor,
  ctFp8Channel,
  ctFp8Block,
  w4a8Vllm,
  w4a8VllmMixed,
  w4a8Sglang,
  w4a8Trtllm,
  fp8Channel,
  fp8Block128Pad4,
  bf16,
];

/** Layout ids of the design that no writer exists for yet. */
const LATER = ["gate_up_ilv8", "w4a8_g128_sm90", "bf16_hi_lo"];

export function formatNamed(id: string): Format {
  const format = FORMATS.find((one) => one.id === id);
  if (format !== undefined) return format;
  const known = FORMATS.map((one) => one.id).join(", ");
  const why = LATER.includes(id) ? "has no writer in this version" : "is no layout";
  throw convertError("OPSWAP_E_CANNOT_CONVERT", `--to ${id}: ${id} ${why}`, `this version writes ${known}`);
}
