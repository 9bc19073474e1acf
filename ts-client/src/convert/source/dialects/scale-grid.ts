/** Which block of a weight each of its scales serves, as the native part wants to know it. */
import type { Located, PartTensor, ScaleGrid } from "../source.js";
import { ORIGINAL, partOf, type Reading } from "./reading.js";
import { type Block, type ScaleExtent, scaleExtentOf } from "./scale-extents.js";

/** Types of scales that are read. */
const FLOATS = ["F32", "BF16", "F16", "F64"];
const EXPONENTS = ["F8_E8M0", "U8"];
const UNFIT =
  "scales serve the tensor, a row, a column, or the blocks that config.json's quantization_config names: mend it where it names others, or convert the checkpoint that this was made from";
const OTHERS = `scales that are read are ${[...FLOATS, ...EXPONENTS].join(", ")}`;

/** The scales of codes of a shape; refuses a type that is not read, and shapes that fit no blocks. */
export function scalesOf(
  reading: Reading,
  codes: Located,
  scale: Located,
  shape: readonly number[],
  block?: Block,
): ScaleGrid & Pick<ScaleExtent, "slices"> {
  const { tensor } = scale;
  if (![...FLOATS, ...EXPONENTS].includes(tensor.dtype))
    throw reading.wrong(
      codes,
      `has scales ${tensor.name} of ${tensor.dtype}`,
      `${OTHERS}; convert the checkpoint that this was made from`,
    );
  const fit = scaleExtentOf(tensor.shape, shape, block);
  if (fit !== undefined) return { ...partOf(scale), ...fit };
  const named = block === undefined ? "" : `; config.json names blocks of ${block.join(" x ")}`;
  throw reading.wrong(
    codes,
    `has scales ${tensor.name} [${tensor.shape.join(", ")}], which fit no blocks${named}`,
    UNFIT,
    "OPSWAP_E_SOURCE",
  );
}

/** A tensor that says for each column in which group it is. */
export function groupsOf(reading: Reading, groups: Located, shape: readonly number[]): PartTensor {
  const { dtype, shape: stored } = groups.tensor;
  if (dtype === "I32" && stored.join() === `${shape.at(-1)}`) return partOf(groups);
  throw reading.wrong(
    groups,
    `is no group of I32 for each of ${shape.at(-1)} columns`,
    ORIGINAL,
    "OPSWAP_E_SOURCE",
  );
}
