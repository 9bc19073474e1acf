/** Lays out the files of tensor-parallel ranks. */
import type { Constant, Encoding, Format } from "../formats/types.js";
import type { Decided } from "../policy/decision.js";
import { attentionScales } from "../ranks/attention.js";
import type { Parameter, RankedModel } from "../ranks/model.js";
import { type Share, shareOf } from "../ranks/slice.js";
import { bitsOf, bytesOf } from "../source/safetensors/dtypes.js";
import { type FileLayout, layoutFile, type NewTensor, type Placed } from "../source/safetensors/layout.js";
import { atRank, rankFile } from "../source/safetensors/rank-files.js";
import type { SourceFile } from "../source/source.js";
import { encodingOf, type FileOptions } from "./lay-out-files.js";
import type { PlannedFile, PlannedTensor } from "./types.js";

/** What decides how a source is cut. */
export interface RankOptions {
  model: RankedModel;
  ranks: number;
  format: Format;
  encode: FileOptions;
}

/** A tensor's share with its encoding. */
interface EncodedShare {
  one: Decided;
  share: Share;
  encoding: Encoding;
}

/** A parameter of one rank: the pieces that it is made of, and the tensors that they make. */
interface RankParameter {
  pieces: readonly EncodedShare[];
  data: NewTensor;
  scale: NewTensor | null;
  beside: readonly Constant[];
}

/**
 * Lays out the files of each rank, with the tensors that vLLM's model has: fused ones are pieces of several tensors,
 * one below the other. A file has what begins in one file of the source.
 */
export function planRanks(
  files: readonly SourceFile[],
  decided: ReadonlyMap<string, Decided>,
  options: RankOptions,
): PlannedFile[] {
  const { model, ranks, format } = options;
  return files.flatMap((file, part) => {
    const here = model.parameters.filter(
      ({ members: [first] }) => decided.get(first?.name ?? "")?.file === file,
    );
    if (here.length === 0) return [];
    return Array.from({ length: ranks }, (_, rank) => {
      const metadata = {
        format: "pt",
        "opswap.layout": format.id,
        "opswap.layout_version": String(format.version),
        "opswap.rank": `${rank} of ${ranks}`,
      };
      const made = here.map((parameter) => makeParameter(parameter, decided, options, rank));
      const created = made.flatMap(({ data, scale, beside }) => [
        data,
        ...(scale ? [scale] : []),
        ...beside.map(({ tensor }) => tensor),
      ]);
      const layout = layoutFile(created, metadata);
      return {
        name: rankFile(rank, part),
        layout,
        tensors: made.flatMap((one) => planned(one, layout, rank)),
        leftOut: rank === 0 ? (file.leftOut ?? []) : [],
      };
    });
  });
}

function makeParameter(
  parameter: Parameter,
  decided: ReadonlyMap<string, Decided>,
  { model, ranks, format, encode }: RankOptions,
  rank: number,
): RankParameter {
  const pieces = parameter.members.map(({ name, cut }) => {
    const one = decided.get(name);
    if (one === undefined) throw new Error(`${name} was checked to be there`);
    const share = shareOf(one.tensor, cut, model, rank, ranks);
    return { one, share, encoding: encodingOf({ ...one, tensor: share.tensor }, format, encode) };
  });
  const whole = `${parameter.module}.${parameter.field}`;
  const scales = pieces.flatMap(({ encoding: { scale } }) => scale ?? []);
  const [first] = pieces;
  const suffix = first ? (scales[0]?.name.slice(first.one.tensor.name.length) ?? "") : "";
  const padding = pieces.reduce((rows, { share }) => rows + share.padding, 0);
  return {
    pieces,
    data: stacked(
      whole,
      pieces.map(({ encoding }) => encoding.data),
      padding,
    ),
    scale: scales.length === 0 ? null : stacked(`${whole}${suffix}`, scales, 0),
    beside: parameter.attention === null ? [] : attentionScales(parameter.attention, format),
  };
}

/** One below the other. */
function stacked(name: string, parts: readonly NewTensor[], padding: number): NewTensor {
  const [first] = parts;
  if (first === undefined) throw new Error(`${name} is made of nothing`);
  const rows = parts.reduce((sum, { shape: [count = 1] }) => sum + count, padding);
  return { name, dtype: first.dtype, shape: [rows, ...first.shape.slice(1)] };
}

/** Where each piece goes: its codes, and its rows of scales, lie behind those of the piece before. */
function planned(
  { pieces, data, scale, beside }: RankParameter,
  layout: FileLayout,
  rank: number,
): PlannedTensor[] {
  const places = new Map(layout.placed.map((one) => [one.name, one]));
  const at = (name: string): Placed => {
    const found = places.get(name);
    if (found === undefined) throw new Error(`${name} has no place in its file`);
    return found;
  };
  let [dataEnd, scaleEnd] = [at(data.name).offset, scale ? at(scale.name).offset : 0];
  return pieces.map(({ one: { tensor, file, decision }, share, encoding }, i) => {
    const own = placedAt(data.name, encoding.data, dataEnd);
    const ownScale = encoding.scale && placedAt(scale?.name ?? "", encoding.scale, scaleEnd);
    dataEnd += own.bytes;
    scaleEnd += ownScale?.bytes ?? 0;
    const known = i === 0 ? beside.map((b) => ({ placed: at(b.tensor.name), bytes: b.bytes })) : [];
    return {
      name: atRank(tensor.name, rank),
      source: share.tensor,
      from: file,
      action: encoding.action,
      scheme: encoding.scheme,
      why: decision.why,
      data: own,
      scale: ownScale,
      constants: [...known, ...zeros(data, share.padding, dataEnd)],
      together: [],
      folds: [],
    };
  });
}

function placedAt(name: string, { dtype, shape }: NewTensor, offset: number): Placed {
  return { name, dtype, shape, bytes: bytesOf(bitsOf(dtype) ?? 8, shape) ?? 0, offset };
}

/** Rows that the engine pads with: it would otherwise keep what was in its memory. */
function zeros({ name, dtype, shape }: NewTensor, rows: number, offset: number) {
  if (rows === 0) return [];
  const placed = placedAt(name, { name, dtype, shape: [rows, ...shape.slice(1)] }, offset);
  return [{ placed, bytes: Buffer.alloc(placed.bytes) }];
}
