/** Integer and FP4 codes of compressed-tensors in a source, packed into words or bytes. */
import type { PlaneLayout } from "../../../types/convert-job.js";
import { readTensorBytes } from "../read-small-tensors.js";
import type { Located, ScaleGrid, Stored } from "../source.js";
import { ORIGINAL, partOf, type Reading } from "./reading.js";
import { groupsOf, scalesOf } from "./scale-grid.js";

const WORD = 32;
const ELEMENTS: Readonly<Record<number, string>> = { 4: "U4", 8: "U8" };
/** The most bytes of a tensor that says a shape. */
const LONGEST_SHAPE = 64;

/** compressed-tensors' codes in words of 32 bits, a row after the other, and its FP4 in bytes. */
export function takePacked(reading: Reading): void {
  for (const one of reading.all) {
    const { name, dtype } = one.tensor;
    if (!name.endsWith("_packed") || reading.isTaken(name)) continue;
    if (dtype === "I32") takeWords(reading, one);
    else if (dtype === "U8") takeFp4(reading, one);
  }
}

interface PackedParts {
  name: string;
  scale: Located;
  zeros: Located | undefined;
  groups: Located | undefined;
  shape: Located | undefined;
}

/** What lies beside codes named X_packed, or X. */
function partsOf(reading: Reading, codes: Located, name: string): PackedParts {
  const part = (what: string) => reading.named(`${name}_${what}`);
  const scale = part("scale");
  if (scale === undefined)
    throw reading.wrong(
      codes,
      `has no ${name}_scale`,
      `fetch the file that has it, or ${ORIGINAL}`,
      "OPSWAP_E_SOURCE",
    );
  return { name, scale, zeros: part("zero_point"), groups: part("g_idx"), shape: part("shape") };
}

function takeWords(reading: Reading, codes: Located): void {
  const parts = partsOf(reading, codes, codes.tensor.name.replace(/_packed$/, ""));
  const { shape, bits } = unpacked(reading, codes, parts);
  const [rows = 0, words = 0] = codes.tensor.shape.slice(-2);
  const pitch = (words * WORD) / bits;
  const layout: PlaneLayout = { element: ELEMENTS[bits] ?? "", pitch, lines: rows };
  takeInts(reading, codes, parts, { shape, layout, offset: 2 ** (bits - 1), bits });
}

/** The shape before packing, and the bits of a code. */
function unpacked(reading: Reading, codes: Located, { shape: told }: PackedParts) {
  const stored = codes.tensor.shape;
  const words = stored.at(-1) ?? 0;
  const { bits = 4 } = reading.quantization;
  const shape =
    told === undefined ? [...stored.slice(0, -1), (words * WORD) / bits] : readShape(reading, told);
  const columns = shape.at(-1) ?? 0;
  const found = [bits, 4, 8].find((one) => ELEMENTS[one] && Math.ceil((columns * one) / WORD) === words);
  const same = shape.slice(0, -1).join() === stored.slice(0, -1).join();
  if (found !== undefined && same) return { shape, bits: found };
  throw reading.wrong(codes, `is no [${shape.join(", ")}] of 4 or 8 bits`, ORIGINAL);
}

function readShape(reading: Reading, part: Located): number[] {
  const { dtype, begin, end } = part.tensor;
  const width = dtype === "I64" ? 8 : 4;
  if (!/^I(32|64)$/.test(dtype) || end - begin > LONGEST_SHAPE)
    throw reading.wrong(part, "is no shape of I64 or I32", ORIGINAL, "OPSWAP_E_SOURCE");
  const bytes = readTensorBytes(partOf(part));
  return Array.from({ length: bytes.length / width }, (_, i) =>
    width === 8 ? Number(bytes.readBigInt64LE(8 * i)) : bytes.readInt32LE(4 * i),
  );
}

interface Ints {
  shape: readonly number[];
  layout: PlaneLayout;
  /** What is added to codes so that none is below 0. */
  offset: number;
  bits: number;
}

/** Integers with scales, zeros where they have any, and groups of columns that are no neighbours. */
function takeInts(reading: Reading, codes: Located, parts: PackedParts, ints: Ints): void {
  const { name, scale, zeros, groups, shape: told } = parts;
  const { slices, ...scales } = groupScales(reading, codes, scale, ints.shape);
  const stored: Stored = {
    codes: ints.layout,
    scales,
    ...zerosOf(reading, codes, zeros, scales, ints),
    ...(groups === undefined ? {} : { groups: groupsOf(reading, groups, ints.shape) }),
    ...(slices === 1 ? {} : { slices }),
  };
  reading.take(codes, { name, dtype: `INT${ints.bits}`, shape: ints.shape }, stored);
  reading.leave(name, [scale, zeros, groups, told]);
}

/** Scales of groups, of rows, or of the tensor; the last group of a row may be short. */
export function groupScales(reading: Reading, codes: Located, scale: Located, shape: readonly number[]) {
  const { group = 0 } = reading.quantization;
  const columns = shape.at(-1) ?? 0;
  const short =
    group > 0 && columns % group !== 0 && scale.tensor.shape.at(-1) === Math.ceil(columns / group);
  return scalesOf(reading, codes, scale, shape, short ? [1, group] : [1, columns]);
}

/** Zeros are packed down the columns, or bytes in the codes' own numbers. */
function zerosOf(
  reading: Reading,
  codes: Located,
  zeros: Located | undefined,
  { rows, columns }: ScaleGrid,
  { shape, offset, bits }: Ints,
): Pick<Stored, "zeros" | "zero"> {
  if (zeros === undefined) return { zero: offset };
  const down = Math.ceil((shape.at(-2) ?? 1) / rows);
  const across = Math.ceil((shape.at(-1) ?? 1) / columns);
  const { dtype, shape: stored } = zeros.tensor;
  const [high = 1, wide = 1] = stored.slice(-2);
  const grid = { ...partOf(zeros), rows, columns };
  if (dtype === "I8" && high * wide === down * across)
    return { zero: offset, zeros: { ...grid, layout: { element: "I8", pitch: across, lines: down } } };
  if (dtype === "I32" && wide === across && high === Math.ceil((down * bits) / WORD))
    return {
      zeros: {
        ...grid,
        layout: { element: ELEMENTS[bits] ?? "", packing: "across", pitch: across, lines: down },
      },
    };
  throw reading.wrong(
    codes,
    `has ${zeros.tensor.name} (${dtype} of [${stored.join(", ")}]), no zeros for [${down}, ${across}] scales`,
    ORIGINAL,
  );
}

/** compressed-tensors' bytes: INT8, in two's complement. */
export function takeBytes(reading: Reading): void {
  for (const one of reading.all) {
    const { name, dtype, shape } = one.tensor;
    const scaled = dtype === "I8" && shape.length > 1 && reading.named(`${name}_scale`) !== undefined;
    if (!scaled || reading.isTaken(name)) continue;
    const parts = partsOf(reading, one, name);
    const [rows = 0, columns = 0] = shape.slice(-2);
    const layout = { element: "I8", pitch: columns, lines: rows };
    if (parts.zeros ?? parts.groups) takeInts(reading, one, parts, { shape, layout, offset: 0, bits: 8 });
    else takePlain(reading, one, parts);
  }
}

function takePlain(reading: Reading, codes: Located, { name, scale }: PackedParts): void {
  const { slices, ...scales } = groupScales(reading, codes, scale, codes.tensor.shape);
  reading.take(codes, codes.tensor, { scales, ...(slices === 1 ? {} : { slices }) });
  reading.leave(name, [scale]);
}

const MX_GROUP = 32;

/** MX's FP4, two to a byte, with an exponent for each 32. */
function takeFp4(reading: Reading, codes: Located): void {
  const parts = partsOf(reading, codes, codes.tensor.name.replace(/_packed$/, ""));
  takeHalfBytes(reading, codes, { ...parts, element: "E2M1", dtype: "MXFP4", group: MX_GROUP });
}

interface HalfBytes extends Pick<PackedParts, "name" | "scale"> {
  element: "E2M1" | "I4";
  dtype: string;
  group: number;
}

/** Codes of half a byte, the even column in the low half, with a scale for each group of columns. */
export function takeHalfBytes(reading: Reading, codes: Located, made: HalfBytes): void {
  const [rows = 0, bytes = 0] = codes.tensor.shape.slice(-2);
  const shape = [...codes.tensor.shape.slice(0, -1), 2 * bytes];
  const { slices, ...scales } = scalesOf(reading, codes, made.scale, shape, [1, made.group]);
  if (scales.columns !== made.group)
    throw reading.wrong(codes, `has no scale for each ${made.group} of its columns`, ORIGINAL);
  const layout = { element: made.element, pitch: 2 * bytes, lines: rows };
  const stored = { codes: layout, scales, ...(slices === 1 ? {} : { slices }) };
  reading.take(codes, { name: made.name, dtype: made.dtype, shape }, stored);
  reading.leave(made.name, [made.scale]);
}
