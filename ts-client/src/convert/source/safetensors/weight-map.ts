/** Reads and checks an index of safetensors files: in which file each tensor is. */
import path from "node:path";
import { z } from "zod";
import { convertError } from "../../errors.js";
import { parseJson } from "../../text/python-json.js";

/** Names of tensors to names of files. */
export type WeightMap = Readonly<Record<string, string>>;

const index = z.object({ weight_map: z.record(z.string(), z.string()) });
const WRITTEN = "give the index that came with the weights";

/** The map of an index file. */
export function readIndex(file: string): WeightMap {
  const parsed = index.safeParse(parseJson(file));
  if (!parsed.success)
    throw convertError("OPSWAP_E_SOURCE", `${file} has no weight_map of names to files`, WRITTEN);
  const outside = Object.values(parsed.data.weight_map).find((name) => path.basename(name) !== name);
  if (outside === undefined) return parsed.data.weight_map;
  throw convertError(
    "OPSWAP_E_SOURCE",
    `${file} names ${JSON.stringify(outside)}, which is not a file beside it`,
    WRITTEN,
  );
}
