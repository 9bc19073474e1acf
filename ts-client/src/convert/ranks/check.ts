/** Refuses a model that cannot be cut for so many tensor-parallel ranks. */
import { convertError } from "../errors.js";
import type { Format } from "../formats/index.js";
import type { FusedGroup, Obstacle } from "../formats/types.js";
import { allTensors, type Source, type SourceTensor } from "../source/source.js";
import type { Cut, RankedModel } from "./model.js";
import { padded, sharesOf } from "./slice.js";

const FLOATS = ["BF16", "F16", "F32"];

function refuse(problem: string, remedy: string): Error {
  return convertError("OPSWAP_E_CANNOT_CONVERT", `files for ranks: ${problem}`, remedy);
}

/** Refuses what vLLM's loader would not take, or would take with nothing but a warning. */
export function checkRanks(source: Source, model: RankedModel, format: Format, ranks: number): void {
  if (format.ranks === undefined)
    throw refuse(
      `${format.id} was never seen loaded by vLLM's sharded_state`,
      "say --to fp8_block128 or --to bf16",
    );
  checkHeads(model, ranks);
  const tensors = new Map(allTensors(source).map(({ tensor }) => [tensor.name, tensor]));
  checkNames(model, tensors);
  for (const tensor of tensors.values()) checkPlain(source, tensor);
  for (const { members } of model.parameters)
    for (const { name, cut } of members) checkShape(tensors.get(name), cut, model, ranks);
}

function checkHeads({ heads, kvHeads, vocabulary }: RankedModel, ranks: number): void {
  const fewer = "use a number of ranks that divides the model's heads";
  if (heads % ranks !== 0) throw refuse(`${heads} attention heads are not shared out by ${ranks}`, fewer);
  if (kvHeads % ranks !== 0 && ranks % kvHeads !== 0)
    throw refuse(`${kvHeads} key and value heads are not shared out by ${ranks}`, fewer);
  if (padded(vocabulary) % ranks !== 0)
    throw refuse(
      `a vocabulary of ${vocabulary}, padded to ${padded(vocabulary)}, is not shared out by ${ranks}`,
      fewer,
    );
}

/** The loader fails at a name that its model has not, and at one that is missing. */
function checkNames(model: RankedModel, tensors: ReadonlyMap<string, SourceTensor>): void {
  const wanted = new Set(model.parameters.flatMap(({ members }) => members.map(({ name }) => name)));
  const remedy = "config.json and the weights must be of one model";
  const missing = [...wanted].find((name) => !tensors.has(name));
  if (missing !== undefined) throw refuse(`${missing}, which config.json speaks of, is not there`, remedy);
  const other = [...tensors.keys()].find((name) => !wanted.has(name) && !model.skipped(name));
  if (other !== undefined) throw refuse(`vLLM's model has no parameter for ${other}`, remedy);
}

function checkPlain(source: Source, tensor: SourceTensor): void {
  if (source.kind === "safetensors" && tensor.stored === undefined && FLOATS.includes(tensor.dtype)) return;
  throw refuse(
    `${tensor.name} is stored as ${tensor.dtype} in ${source.kind}; only BF16, F16 and F32 of safetensors are cut`,
    "make a BF16 checkpoint first: `opswap convert SOURCE BF16 --to bf16`",
  );
}

function checkShape(tensor: SourceTensor | undefined, cut: Cut, model: RankedModel, ranks: number): void {
  if (tensor === undefined) return;
  const { heads, kvHeads, headRows, vocabulary } = model;
  const { name, shape } = tensor;
  const wanted = /\bq_proj\./.test(name)
    ? heads * headRows
    : cut === "kv rows"
      ? kvHeads * headRows
      : vocabulary;
  const told = cut === "vocabulary" || /\b[qkv]_proj\./.test(name);
  if (told && shape[0] !== wanted)
    throw refuse(
      `${name} has ${shape[0]} rows, and config.json means ${wanted}`,
      "mend config.json: vLLM's loader would only warn",
    );
  const extent = (cut === "columns" ? shape[1] : shape[0]) ?? 0;
  if (cut !== "vocabulary" && extent % sharesOf(cut, model, ranks) !== 0)
    throw refuse(`${name} [${shape.join(", ")}] is not shared out by ${ranks}`, "use fewer ranks");
}

/** What blocks forbid beside the layout's own rules: a rank's rows and columns end on their borders. */
export function rankObstacle(format: Format, model: RankedModel, ranks: number): Obstacle {
  const { border } = format;
  const uneven = ({ leaves, rows, columns }: FusedGroup): string | undefined => {
    if (ranks === 1 || border === 1) return undefined;
    if (/^(o_proj|down_proj)$/.test(leaves[0] ?? ""))
      return (columns / ranks) % border === 0
        ? undefined
        : `each of ${ranks} ranks has ${columns / ranks} columns, no whole blocks of ${border}`;
    const own = rows.map((count, i) => count / sharesOf(cutOf(leaves[i] ?? ""), model, ranks));
    const at = own.findIndex((count) => count % border !== 0);
    return at < 0
      ? undefined
      : `each of ${ranks} ranks has ${own[at]} rows of ${leaves[at]}, no whole blocks of ${border}`;
  };
  return (group) => format.obstacle(group) ?? uneven(group);
}

const cutOf = (leaf: string): Cut => (/^[kv]_proj$/.test(leaf) ? "kv rows" : "rows");
