/** Whether and how a source is cut for tensor-parallel ranks. */
import { convertError } from "../errors.js";
import type { Format } from "../formats/index.js";
import type { ConvertOptions } from "../options/options.js";
import type { Source } from "../source/source.js";
import { checkRanks } from "./check.js";
import { type RankedModel, rankedModel } from "./model.js";

export interface Ranked {
  model: RankedModel;
  ranks: number;
}

/** How the model is cut; null where it is not. */
export function rankedFor(
  source: Source,
  { tensorParallel: ranks, awq }: ConvertOptions,
  format: Format,
): Ranked | null {
  if (ranks === null) return null;
  if (awq)
    throw convertError(
      "OPSWAP_E_CANNOT_CONVERT",
      "files for ranks: --awq folds whole tensors, not a rank's share of them",
      "leave one of --awq and --tensor-parallel out",
    );
  const model = rankedModel(source);
  checkRanks(source, model, format, ranks);
  return { model, ranks };
}
