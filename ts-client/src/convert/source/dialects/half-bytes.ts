/** Weights of 4 bits that are packed in pairs: W4A8 of SGLang and TensorRT-LLM, DeepSeek's FP4. */
import { takeHalfBytes } from "./packed.js";
import type { Reading } from "./reading.js";

/** SGLang's and TensorRT-LLM's W4A8 has groups of 128, DeepSeek's FP4 of experts 32. */
const KINDS = {
  w4afp8: { element: "I4", dtype: "INT4", group: 128 },
  fp4: { element: "E2M1", dtype: "MXFP4", group: 32 },
} as const;

/** Codes of half a byte that are stored as I8 or U8 under the weight's own name. */
export function takeHalves(reading: Reading): void {
  const { method } = reading.quantization;
  if (method !== "w4afp8" && method !== "fp4") return;
  for (const one of reading.all) {
    const { name, dtype } = one.tensor;
    if (!/^[IU]8$/.test(dtype) || !name.endsWith(".weight") || reading.isTaken(name)) continue;
    const layer = name.slice(0, -"weight".length);
    const names = [`${name}_scale_inv`, `${name}_scale`, `${layer}scale`];
    const scale = names.map((beside) => reading.named(beside)).find((beside) => beside !== undefined);
    if (scale !== undefined) takeHalfBytes(reading, one, { name, scale, ...KINDS[method] });
  }
}
