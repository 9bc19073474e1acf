/** The split of a source into files for tensor-parallel ranks (--tensor-parallel), checked before anything is planned. */
import { convertError } from "../errors.js";
import type { Format } from "../formats/index.js";
import type { ConvertOptions } from "../options/options.js";
import type { Source } from "../source/source.js";
import { checkRanks } from "./check.js";
import { type RankedModel, rankedModel } from "./model.js";

export interface RankSplit {
  model: RankedModel;
  ranks: number;
}

/** The split that the options ask for, null for none; refuses a model or layout that cannot be split so. */
export function rankSplitFor(
  source: Source,
  { tensorParallel: ranks, awq }: ConvertOptions,
  format: Format,
): RankSplit | null {
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
