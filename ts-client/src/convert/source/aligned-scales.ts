/** Scales whose rows are filled up to whole units of 16 bytes, as tensor maps want them. */

/** A 16-byte unit of float32, in which tensor maps count. */
export const ALIGN = 4;

/** How many scales a row has where rows are filled up to whole units. */
export const alignedScales = (across: number) => Math.ceil(across / ALIGN) * ALIGN;
