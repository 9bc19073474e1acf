/** Lists the tensors and metadata of a GGUF file, for `opswap convert inspect`. */
import path from "node:path";
import { OpswapError } from "../../../types/errors.js";
import type { Inspection } from "../inspection.js";
import { ggufFiles, type Part } from "./checkpoint.js";
import { scalarOf, shapeOf } from "./config.js";
import { FAMILIES } from "./families.js";
import type { GgufHeader } from "./header.js";
import { fatesOf, type KeyFate } from "./keys.js";
import { Metadata } from "./metadata.js";
import type { MetadataValue } from "./values.js";

/** What is in a GGUF file, of any architecture, as the file itself names it. */
export function inspectGguf(at: string): Omit<Inspection, "dtypes" | "layout"> {
  const parts = ggufFiles(at);
  return {
    root: at,
    fates: fatesIn(parts),
    files: parts.map(({ path: file, bytes, header }) => ({
      name: path.basename(file),
      bytes,
      tensors: header.tensors.length,
      metadata: metadataOf(header),
    })),
    tensors: parts.flatMap(({ path: file, header }) =>
      header.tensors.map(({ name, type, shape, begin, end }) => ({
        name,
        dtype: type.name,
        shape,
        bytes: end - begin,
        file: path.basename(file),
      })),
    ),
  };
}

/** What a conversion would do with each key; null for what is not converted, of which `plan` tells the reason. */
function fatesIn([first]: readonly Part[]): KeyFate[] | null {
  if (first === undefined) return null;
  try {
    const metadata = new Metadata(first.path, first.header);
    const family = FAMILIES.get(metadata.architecture);
    if (family === undefined) return null;
    const shape = shapeOf(metadata);
    return fatesOf({ metadata, family, headDim: shape.headDim, scalar: scalarOf(family, shape) }, false);
  } catch (error) {
    if (error instanceof OpswapError) return null;
    throw error;
  }
}

function metadataOf({ version, metadata }: GgufHeader): Record<string, string> {
  const pairs = [...metadata].map(([key, value]) => [key, textOf(value)] as const);
  return { "GGUF version": String(version), ...Object.fromEntries(pairs) };
}

function textOf(value: MetadataValue): string {
  if (Array.isArray(value)) return `[${value.map(textOf).join(", ")}]`;
  if (typeof value === "object" && "length" in value) return `${value.length} values`;
  return String(value);
}
