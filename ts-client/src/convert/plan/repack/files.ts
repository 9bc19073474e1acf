/** Lays out the files of a repacked output. */
import { COPY, type Constant, type Format } from "../../formats/types.js";
import { layoutFile, type NewTensor, type Placed } from "../../source/safetensors/layout.js";
import type { SourceFile, SourceTensor } from "../../source/source.js";
import type { PlannedFile, PlannedTensor } from "../types.js";

/** How a tensor's bytes go over: none of these rounds. */
export type Recode = "copy" | "flip" | "widen" | "narrow" | "pad" | "unpad";

/** Codes, scale, and then what is known before the work. */
const LAST = 2;

/** What becomes of a tensor that goes over into another dialect. */
interface Move {
  /** Of whose layer it is, and its turn there. */
  weight: string;
  rank: number;
  code: Recode;
  data: NewTensor;
  constants: readonly Constant[];
}

/** By the name of the tensor; null where the other dialect has none. */
export type Moves = Map<string, Move | null>;

type MovedTensor = { tensor: SourceTensor; move: Move };

/** Lays out a file in the order of the layers' names, which is what convert makes of a source in that order. */
export function planMoves(file: SourceFile, format: Format, moves: Moves): PlannedFile {
  const there = file.header.tensors.flatMap((tensor): MovedTensor[] => {
    const move = moves.get(tensor.name);
    return move === null ? [] : [{ tensor, move: move ?? copyOf(tensor) }];
  });
  const created = there.flatMap(({ move: { weight, rank, data, constants } }) => [
    { weight, rank, tensor: data },
    ...constants.map(({ tensor }) => ({ weight, rank: LAST, tensor })),
  ]);
  created.sort((a, b) => (a.weight === b.weight ? a.rank - b.rank : a.weight < b.weight ? -1 : 1));
  const metadata = {
    format: "pt",
    ...file.header.metadata,
    "opswap.layout": format.id,
    "opswap.layout_version": String(format.version),
  };
  const layout = layoutFile(
    created.map(({ tensor }) => tensor),
    metadata,
  );
  const places = new Map(layout.placed.map((one) => [one.name, one]));
  const tensors = there.map((one) => plannedTensor(one, file, format, places));
  return { name: file.name, layout, tensors, leftOut: [] };
}

const copyOf = (tensor: SourceTensor): Move => ({
  weight: tensor.name,
  rank: 0,
  code: "copy",
  data: tensor,
  constants: [],
});

function plannedTensor(
  { tensor, move }: MovedTensor,
  from: SourceFile,
  format: Format,
  layout: ReadonlyMap<string, Placed>,
): PlannedTensor {
  const placed = (name: string) => {
    const found = layout.get(name);
    if (found === undefined) throw new Error(`${name} has no place in its file`);
    return found;
  };
  const { code, data, constants } = move;
  const same = code === "copy" && data.name === tensor.name;
  return {
    name: tensor.name,
    source: code === "unpad" ? narrowed(tensor, data) : tensor,
    from,
    action: code === "copy" && !same ? "rename" : code,
    scheme: code === "copy" || code === "pad" || code === "unpad" ? COPY : { code },
    ...(code === "pad" ? { padded: data.shape[1] ?? 0 } : {}),
    why: same ? "the same in both layouts" : `${data.name} of ${format.id}`,
    data: placed(data.name),
    scale: null,
    constants: constants.map((one) => ({ placed: placed(one.tensor.name), bytes: one.bytes })),
    together: [],
    folds: [],
  };
}

/** Without what fills up its rows. */
function narrowed(tensor: SourceTensor, { shape }: NewTensor): SourceTensor {
  const [rows = 0, columns = 0] = shape;
  const wide = tensor.shape[1] ?? columns;
  const bytes = ((tensor.end - tensor.begin) / wide) * columns;
  return { ...tensor, shape: [rows, columns], end: tensor.begin + bytes, rowPitch: wide };
}
