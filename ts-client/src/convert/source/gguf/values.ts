/** Reads a metadata value of a GGUF file, of any type. */
import type { Cursor } from "./cursor.js";

/** An array that is not kept: vocabularies have hundreds of thousands of elements. */
export interface LongArray {
  length: number;
}
export type Scalar = number | bigint | boolean | string;
export type MetadataValue = Scalar | readonly MetadataValue[] | LongArray;

const STRING = 8;
const ARRAY = 9;
/** Elements of a value that are kept, those of arrays in it counted together. */
const KEPT = 1024;
/** Arrays in arrays; ggml has none, the gguf package writes them. */
const MOST_DEPTH = 4;
/** The least that an array in an array takes: a type and a length. */
const ARRAY_BYTES = 12;

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
  [10, [8, (bytes) => plain(bytes.readBigUInt64LE())]],
  [11, [8, (bytes) => plain(bytes.readBigInt64LE())]],
  [12, [8, (bytes) => bytes.readDoubleLE()]],
]);

/** A number where that loses nothing. */
function plain(value: bigint): number | bigint {
  const short = Number(value);
  return Number.isSafeInteger(short) ? short : value;
}

/** The shortest decimal that is this float32: 1e-5, not 0.000009999999747378752. */
function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

/** How many elements may still be kept. */
interface Budget {
  left: number;
}

/** Reads a value of a type. */
export function readValue(cursor: Cursor, type: number, what: string): MetadataValue {
  return type === ARRAY ? readArray(cursor, what, { left: KEPT }, 1) : readScalar(cursor, type, what);
}

function readScalar(cursor: Cursor, type: number, what: string): Scalar {
  if (type === STRING) return cursor.string(what);
  const fixed = FIXED.get(type);
  if (fixed === undefined) throw cursor.broken(`${what} has type ${type}, which GGUF does not have`);
  return fixed[1](cursor.take(fixed[0], what));
}

function readArray(cursor: Cursor, what: string, budget: Budget, depth: number): MetadataValue {
  if (depth > MOST_DEPTH) throw cursor.broken(`${what} has arrays in arrays beyond a depth of ${MOST_DEPTH}`);
  const type = cursor.u32(`type of ${what}`);
  const length = cursor.size(`length of ${what}`);
  const bytes = type === STRING ? 8 : type === ARRAY ? ARRAY_BYTES : FIXED.get(type)?.[0];
  if (bytes === undefined)
    throw cursor.broken(`${what} is an array of type ${type}, which GGUF does not have`);
  cursor.need(length * bytes, what);
  if (length > budget.left) {
    skipElements(cursor, type, length, bytes, what, depth);
    return { length };
  }
  budget.left -= length;
  return Array.from({ length }, (_, i) =>
    type === ARRAY
      ? readArray(cursor, `${what}[${i}]`, budget, depth + 1)
      : readScalar(cursor, type, `${what}[${i}]`),
  );
}

function skipElements(
  cursor: Cursor,
  type: number,
  length: number,
  bytes: number,
  what: string,
  depth: number,
): void {
  if (type === STRING) for (let i = 0; i < length; i++) cursor.skip(cursor.size(what), what);
  else if (type === ARRAY) for (let i = 0; i < length; i++) readArray(cursor, what, { left: 0 }, depth + 1);
  else cursor.skip(length * bytes, what);
}
