/** Codes and their scales as one argument of a call. */
import type { OpTensor } from "./tensor.js";

/** Stands in the place of the argument with the data; the argument of the scale is then null. */
export class Quantized {
  /**
   * @param data codes, as the op's argument has them
   * @param scale as the op's other argument has them
   * @param layout id, as docs/layouts.md names it
   */
  constructor(
    readonly data: OpTensor,
    readonly scale: OpTensor,
    readonly layout: string,
  ) {}
}
