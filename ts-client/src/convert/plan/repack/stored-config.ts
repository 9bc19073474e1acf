/** Whether config.json and the tensors of a source are of a dialect that can be repacked. */
import { z } from "zod";
import { convertError } from "../../errors.js";
import { withReadBlock } from "../../source/quantization-blocks.js";
import type { Located, Source } from "../../source/source.js";

/** Activations in FP8 with scales that are found while they run: what every dialect here means. */
const activations = z.object({ num_bits: z.literal(8), type: z.literal("float"), dynamic: z.literal(true) });
const weights = z.object({
  symmetric: z.literal(true),
  dynamic: z.literal(false),
  actorder: z.null().optional(),
});
const group = z.object({ weights, input_activations: activations, output_activations: z.null().optional() });
const block = z.discriminatedUnion("quant_method", [
  z.object({ quant_method: z.literal("fp8"), activation_scheme: z.literal("dynamic") }),
  z.object({ quant_method: z.literal("w4afp8") }),
  z.object({ quant_method: z.literal("opswap"), layout: z.string() }),
  z.object({
    quant_method: z.literal("compressed-tensors"),
    kv_cache_scheme: z.null().optional(),
    config_groups: z.record(z.string(), group),
  }),
]);
const config = z.object({ compression_config: z.never().optional(), quantization_config: block.nullish() });

/** The same tensors mean other layers where activations are not FP8, or not dynamic: refuses what it would change. */
export function checkMeaning(source: Source): void {
  const parsed = config.safeParse(withReadBlock(source.config) ?? {});
  if (parsed.success) return;
  const [issue] = parsed.error.issues;
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `${source.folder}: config.json's ${issue?.path.join(".")} is not of a dialect that can be repacked: ${issue?.message}`,
    "repack reads FP8 and W4A8 whose activations are FP8 and dynamic, as convert writes them",
  );
}

const OF_CODES =
  /(_packed|_scale|_scale_inv|_shape|_zero_point|_g_idx|\.input_scale|\.qweight|\.qzeros|\.scales)$/;
const PACKED = new Set(["I8", "U8", "I32"]);

/** Refuses codes of a layout that is not known: they would be copied beside a config.json that does not speak of them. */
export function refuseUnknownCodes(tensors: readonly Located[], known: ReadonlySet<string>): void {
  const left = tensors.find(({ tensor: { name, dtype, shape } }) => {
    const codes = /^F[468]_/.test(dtype) || (PACKED.has(dtype) && shape.length > 1);
    return (codes || OF_CODES.test(name)) && !known.has(name);
  });
  if (left === undefined) return;
  const { name, dtype, shape } = left.tensor;
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `${left.file.path}: ${name} (${dtype} of [${shape.join(", ")}]) is of no layout that can be repacked`,
    "repack reads the layouts that convert writes; docs/layouts.md has their names and shapes",
  );
}
