/** Memory of the converter's own process. */
import { setFlagsFromString } from "node:v8";

/**
 * V8 lets garbage grow to a multiple of what lives. With 20 percent, `plan` of 46,000 FP8 tensors takes 269 to 286 MB
 * in the place of 349 to 361, for a fifth more of its 5 s.
 */
export function keepHeapSmall(): void {
  setFlagsFromString("--heap-growing-percent=20");
}
