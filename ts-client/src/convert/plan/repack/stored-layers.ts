/** Finds the quantised layers of a source that is to be repacked. */
import { closeSync, openSync, readSync } from "node:fs";
import type { BlockScheme, Scheme } from "../../../types/convert-job.js";
import { convertError } from "../../errors.js";
import { FORMATS } from "../../formats/index.js";
import type { EncodeOptions, Encoding, Format } from "../../formats/types.js";
import type { TensorEntry } from "../../source/safetensors/header.js";
import type { NewTensor } from "../../source/safetensors/layout.js";
import type { Located } from "../../source/source.js";
import { allTensors, type ScaleGrid, type Source } from "../../source/source.js";

/** A quantised matrix as a checkpoint has it. */
export interface StoredLayer {
  /** Its name and shape before it was packed. */
  weight: TensorEntry;
  /** Of the layout that it has. */
  action: string;
  scheme: BlockScheme;
  codes: Located;
  scale: Located;
  /** Tensors that its layout has beside it. */
  beside: readonly Located[];
  /** The static one, where it has one. */
  inputScale: number | null;
}

/** Columns of a matrix for each of the elements that store them. */
const PACKED: Readonly<Record<string, number>> = { I32: 8, I8: 2, F8_E4M3: 1 };
const CODES = /\.weight(_packed)?$/;
const LONGEST_CONSTANT = 16;

/** Every quantised matrix of a checkpoint whose layout a format knows. */
export function storedLayers(tensors: readonly Located[]): StoredLayer[] {
  const byName = new Map(tensors.map((one) => [one.tensor.name, one]));
  return tensors.flatMap((codes) => storedLayer(codes, byName) ?? []);
}

/** Refuses INT4 codes of a layout for a layout of INT4: they would be rounded again. */
export function checkNotPacked(source: Source, format: Format, repacks: () => boolean): void {
  if (!isInt4(format.encode(EXPERT, PLAIN).scheme)) return;
  const tensors = allTensors(source);
  if (!tensors.some(({ tensor: { name, dtype } }) => /^I(8|32)$/.test(dtype) && CODES.test(name))) return;
  const again = ({ weight, scheme }: StoredLayer) =>
    scheme.code !== "e4m3" && isInt4(format.encode(weight, PLAIN).scheme);
  const packed = storedLayers(tensors).find(again);
  if (packed === undefined) return;
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `${packed.codes.file.path}: ${packed.weight.name} is ${packed.action} already, and ${format.id} would round it again`,
    repacks()
      ? "write the other dialect of the same codes with `opswap convert repack`"
      : "convert the checkpoint that this was made from, or write BF16 with --to bf16 and quantise that",
  );
}

/** What every layout of INT4 has in INT4. */
const EXPERT = { name: "experts.0.w1.weight", dtype: "BF16", shape: [256, 256], begin: 0, end: 0 };
const PLAIN: EncodeOptions = { scales: "amax", inputScale: () => 0 };
const isInt4 = (scheme: Scheme) => "blockRows" in scheme && scheme.code !== "e4m3";

function storedLayer(codes: Located, byName: ReadonlyMap<string, Located>): StoredLayer | undefined {
  const { name, dtype, shape } = codes.tensor;
  const columns = (shape[1] ?? 0) * (PACKED[dtype] ?? 0);
  if (shape.length !== 2 || columns === 0 || !CODES.test(name)) return undefined;
  const weight = { ...codes.tensor, name: name.replace(/_packed$/, ""), shape: [shape[0] ?? 0, columns] };
  for (const format of FORMATS) {
    const encoding = format.encode(weight, PLAIN);
    const scale = byName.get(encoding.scale?.name ?? "");
    const { scheme, action } = encoding;
    if (encoding.scale === null || scale === undefined || !("blockRows" in scheme)) continue;
    if (!isSame(encoding.data, codes.tensor) || !isScale(encoding.scale, scale.tensor)) continue;
    if (fits(codes.tensor.stored?.scales, scheme, weight))
      return { weight, action, scheme, codes, scale, ...besides(encoding, byName) };
  }
  return undefined;
}

const shapeOf = ({ shape }: Pick<NewTensor, "shape">) => shape.join();
const isSame = (a: NewTensor, b: TensorEntry) =>
  a.name === b.name && a.dtype === b.dtype && shapeOf(a) === shapeOf(b);

/** Other tools write scales in other types; none of them loses a number on the way to a wider one. */
const isScale = (a: NewTensor, b: TensorEntry) =>
  shapeOf(a) === shapeOf(b) && (b.dtype === "F32" || b.dtype === "BF16");

/** Whether the blocks that the source speaks of are those of the layout; a lone scale serves any block. */
function fits(grid: ScaleGrid | undefined, scheme: BlockScheme, { shape: [rows, columns] }: TensorEntry) {
  if (grid === undefined || grid.tensor.shape.every((extent) => extent === 1)) return true;
  return grid.rows === (scheme.blockRows || rows) && grid.columns === (scheme.blockColumns || columns);
}

function besides({ constants = [] }: Encoding, byName: ReadonlyMap<string, Located>) {
  let inputScale: number | null = null;
  const beside = constants.flatMap(({ tensor, bytes }) => {
    const one = byName.get(tensor.name);
    if (one === undefined) return [];
    if (one.tensor.dtype !== tensor.dtype || one.tensor.end - one.tensor.begin !== bytes.length)
      throw wrong(one, `is no ${tensor.dtype} of [${shapeOf(tensor)}]`);
    const read = readConstant(one);
    if (tensor.dtype === "F32") inputScale = positive(one, read.readFloatLE());
    else if (!read.equals(bytes)) throw wrong(one, "says another shape than the codes have");
    return [one];
  });
  return { beside, inputScale };
}

function positive(one: Located, value: number): number {
  if (value > 0 && Number.isFinite(value)) return value;
  throw wrong(one, `is ${value}, which is no scale`);
}

const wrong = ({ file, tensor }: Located, problem: string) =>
  convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `${file.path}: ${tensor.name} ${problem}`,
    "it is not of the codes beside it: convert the checkpoint that this was made from",
  );

function readConstant({ file, tensor }: Located): Buffer {
  const bytes = Buffer.alloc(Math.min(tensor.end - tensor.begin, LONGEST_CONSTANT));
  const fd = openSync(file.path, "r");
  try {
    readSync(fd, bytes, 0, bytes.length, file.header.dataStart + tensor.begin);
  } finally {
    closeSync(fd);
  }
  return bytes;
}
