/** The manifest of a library: its ops with their arguments, checked when it is read. */
import * as z from "zod/mini";
import { OpswapError } from "../types/errors.js";

/** The newest manifest that this reader knows. */
export const MANIFEST_SCHEMA = 1;

const argument = z.looseObject({
  name: z.string(),
  kind: z.string(),
  /** Of a tensor: a type variable, and an expression for each dimension. */
  dtype: z.optional(z.string()),
  shape: z.optional(z.array(z.string())),
  writes: z.optional(z.boolean()),
  /** Of a written tensor: whether its old values are used; a condition when that depends on the scalars. */
  reads: z.optional(z.union([z.boolean(), z.string()])),
  optional: z.optional(z.boolean()),
  default: z.optional(z.union([z.number(), z.boolean(), z.string(), z.null()])),
  doc: z.optional(z.string()),
});

const op = z.looseObject({
  op: z.string(),
  version: z.int(),
  hash: z.string(),
  summary: z.string(),
  /** The dtypes that each type variable may take. */
  types: z.optional(z.record(z.string(), z.array(z.string()))),
  args: z.array(argument),
  /** Conditions over sizes and scalars that a call has to meet. */
  require: z.optional(z.array(z.string())),
  /** How far an output of a dtype may be from the reference. */
  tolerance: z.optional(z.record(z.string(), z.looseObject({ atol: z.number(), rtol: z.number() }))),
  /** What a switch to or from an implementation takes, and by name of those for which it is not that. */
  toggle_class: z.optional(z.string()),
  toggle_classes: z.optional(z.record(z.string(), z.string())),
  /** The lower ops that a composite is made of. */
  composes: z.optional(z.array(z.string())),
  /** Tensors that may be given as one quantised argument: names of the arguments with data and scale, and the layout's id. */
  quantized: z.optional(z.array(z.object({ layout: z.string(), data: z.string(), scale: z.string() }))),
});

const error = z.looseObject({ name: z.string(), meaning: z.string(), remedy: z.string() });

const manifest = z.looseObject({ schema: z.int(), errors: z.array(error), ops: z.array(op) });

/** One argument of an op: what a caller needs of its declaration. */
export type ManifestArgument = z.infer<typeof argument>;
export type ManifestOp = z.infer<typeof op>;
/** The manifest of a loaded library. Keys that this reader does not know are kept. */
export type Manifest = z.infer<typeof manifest>;

/** Checks a manifest; a newer schema is refused, naming both numbers. */
export function readManifest(value: unknown): Manifest {
  const parsed = manifest.safeParse(value);
  if (!parsed.success) {
    const at = parsed.error.issues[0];
    throw new OpswapError(
      "OPSWAP_E_MANIFEST",
      `manifest: ${at?.path.join(".") ?? ""}: ${at?.message ?? "not as declared"}`,
    );
  }
  if (parsed.data.schema > MANIFEST_SCHEMA) {
    throw new OpswapError(
      "OPSWAP_E_MANIFEST",
      `the library's manifest has schema ${parsed.data.schema}, this client reads up to ${MANIFEST_SCHEMA}`,
      { remedy: "update opswap on this side" },
    );
  }
  return parsed.data;
}
