import path from "node:path";
import type { Inspection } from "../inspect.js";
import { ggufFiles } from "./checkpoint.js";
import type { GgufHeader } from "./header.js";
import type { MetadataValue } from "./values.js";

/** What is in a GGUF file, of any architecture, as the file itself names it. */
export function inspectGguf(at: string): Omit<Inspection, "dtypes" | "layout"> {
  const parts = ggufFiles(at);
  return {
    root: at,
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

function metadataOf({ version, metadata }: GgufHeader): Record<string, string> {
  const pairs = [...metadata].map(([key, value]) => [key, textOf(value)] as const);
  return { "GGUF version": String(version), ...Object.fromEntries(pairs) };
}

function textOf(value: MetadataValue): string {
  if (Array.isArray(value)) return `[${value.join(", ")}]`;
  if (typeof value === "object" && "length" in value) return `${value.length} values`;
  return String(value);
}
