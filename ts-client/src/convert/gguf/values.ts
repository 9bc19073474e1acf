import type { Cursor } from "./cursor.js";

/** An array that is not kept: vocabularies have hundreds of thousands of elements. */
export interface LongArray {
  length: number;
}
export type Scalar = number | bigint | boolean | string;
export type MetadataValue = Scalar | readonly Scalar[] | LongArray;

const STRING = 8;
const ARRAY = 9;
/** Elements of an array that are kept. */
const KEPT = 1024;

/** Bytes and reader of each type of fixed size. */
const FIXED: ReadonlyMap<number, [bytes: number, read: (bytes: Buffer) => Scalar]> = new Map([
  [0, [1, (bytes) => bytes.readUInt8()]],
  [1, [1, (bytes) => bytes.readInt8()]],
  [2, [2, (bytes) => bytes.readUInt16LE()]],
  [3, [2, (bytes) => bytes.readInt16LE()]],
  [4, [4, (bytes) => bytes.readUInt32LE()]],
  [5, [4, (bytes) => bytes.readInt32LE()]],
  [6, [4, (bytes) => shortest(bytes.readFloatLE())]],
  [7, [1, (bytes) => bytes.readUInt8() !== 0]],
  [10, [8, (bytes) => bytes.readBigUInt64LE()]],
  [11, [8, (bytes) => bytes.readBigInt64LE()]],
  [12, [8, (bytes) => bytes.readDoubleLE()]],
]);

/** The shortest decimal that is this float32: 1e-5, not 0.000009999999747378752. */
function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

/** Reads a value of a type; arrays in arrays are not in use anywhere and are refused. */
export function readValue(cursor: Cursor, type: number, what: string): MetadataValue {
  if (type === ARRAY) return readArray(cursor, what);
  if (type === STRING) return cursor.string(what);
  const fixed = FIXED.get(type);
  if (fixed === undefined) throw cursor.broken(`${what} has type ${type}, which GGUF does not have`);
  return fixed[1](cursor.take(fixed[0], what));
}

function readArray(cursor: Cursor, what: string): MetadataValue {
  const type = cursor.u32(`type of ${what}`);
  const length = cursor.size(`length of ${what}`);
  const bytes = type === STRING ? 8 : FIXED.get(type)?.[0];
  if (bytes === undefined)
    throw cursor.broken(`${what} is an array of type ${type}, which GGUF does not have`);
  cursor.need(length * bytes, what);
  if (length <= KEPT)
    return Array.from({ length }, (_, i) => readValue(cursor, type, `${what}[${i}]`) as Scalar);
  if (type !== STRING) cursor.skip(length * bytes, what);
  else for (let i = 0; i < length; i++) cursor.skip(cursor.size(what), what);
  return { length };
}
