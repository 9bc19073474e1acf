/**
 * Headers of GGUF files, read with bounds. @huggingface/gguf 0.4.6 reads a file that is cut as if zeros followed, and
 * finds tensors in them.
 */
import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync } from "node:fs";
import { Cursor } from "./cursor.js";
import { GGUF_TYPES, type GgufType } from "./types.js";
import { type MetadataValue, readValue } from "./values.js";

const MAGIC = 0x46554747;
const VERSIONS = [2, 3];
const MOST_DIMENSIONS = 4;
const DEFAULT_ALIGNMENT = 32;
const MOST_ALIGNMENT = 1 << 20;
/** Of any of ours: a megabyte for a thousand tensors, and a vocabulary. */
const MOST_HEADER_BYTES = 256 << 20;

export interface GgufTensor {
  name: string;
  type: GgufType;
  /** Rows first, as frameworks have it; the file has it the other way round. */
  shape: readonly number[];
  /** Bytes from the start of the data. */
  begin: number;
  end: number;
}

export interface GgufHeader {
  version: number;
  metadata: ReadonlyMap<string, MetadataValue>;
  /** In the order of their data. */
  tensors: readonly GgufTensor[];
  dataStart: number;
  sha256: string;
}

/** Reads and checks the header of a file; nothing but the header is read. */
export function readGguf(file: string): GgufHeader {
  const fd = openSync(file, "r");
  try {
    const size = fstatSync(fd).size;
    const cursor = new Cursor(file, fd, size);
    const version = readVersion(cursor);
    const counts = { tensors: cursor.size("number of tensors"), pairs: cursor.size("number of metadata") };
    // The least that each takes: a length, a name of one byte, a type, and a value or a place.
    if (counts.tensors * 25 + counts.pairs * 14 > cursor.left)
      throw cursor.broken(`claims ${counts.tensors} tensors and ${counts.pairs} metadata in ${size} bytes`);
    const metadata = readMetadata(cursor, counts.pairs);
    const alignment = alignmentOf(cursor, metadata);
    const tensors = readTensors(cursor, counts.tensors);
    const end = cursor.position;
    const dataStart = Math.ceil(end / alignment) * alignment;
    tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
    checkCover(cursor, tensors, alignment, size - dataStart);
    return { version, metadata, tensors, dataStart, sha256: digestOf(file, fd, end) };
  } finally {
    closeSync(fd);
  }
}

function readVersion(cursor: Cursor): number {
  if (cursor.left < 24 || cursor.u32("magic") !== MAGIC)
    throw cursor.broken("is no GGUF file: it does not begin with GGUF, or is too short");
  const version = cursor.u32("version");
  if (VERSIONS.includes(version)) return version;
  const other = version > 0xffff ? "is of a machine with the other byte order" : `has version ${version}`;
  throw cursor.broken(`${other}; versions ${VERSIONS.join(" and ")} are read`);
}

function readMetadata(cursor: Cursor, count: number): Map<string, MetadataValue> {
  const metadata = new Map<string, MetadataValue>();
  for (let i = 0; i < count; i++) {
    const key = cursor.string(`metadata key ${i}`);
    if (metadata.has(key)) throw cursor.broken(`has metadata ${JSON.stringify(key)} twice`);
    metadata.set(key, readValue(cursor, cursor.u32(`type of ${key}`), key));
    checkLength(cursor);
  }
  return metadata;
}

function checkLength(cursor: Cursor): void {
  if (cursor.position > MOST_HEADER_BYTES)
    throw cursor.broken(`has a header of more than ${MOST_HEADER_BYTES} bytes`);
}

function alignmentOf(cursor: Cursor, metadata: ReadonlyMap<string, MetadataValue>): number {
  const value = metadata.get("general.alignment") ?? DEFAULT_ALIGNMENT;
  if (typeof value === "number" && value > 0 && value <= MOST_ALIGNMENT && value % 8 === 0) return value;
  throw cursor.broken(
    `has general.alignment ${String(value)}; multiples of 8 up to ${MOST_ALIGNMENT} are read`,
  );
}

function readTensors(cursor: Cursor, count: number): GgufTensor[] {
  const tensors: GgufTensor[] = [];
  const names = new Set<string>();
  for (let i = 0; i < count; i++) {
    const tensor = readTensor(cursor, i);
    if (names.has(tensor.name)) throw cursor.broken(`names ${JSON.stringify(tensor.name)} twice`);
    names.add(tensor.name);
    tensors.push(tensor);
    checkLength(cursor);
  }
  return tensors;
}

function readTensor(cursor: Cursor, index: number): GgufTensor {
  const name = cursor.string(`name of tensor ${index}`);
  const where = `tensor ${JSON.stringify(name)}`;
  const dimensions = cursor.u32(`${where}: number of dimensions`);
  if (dimensions < 1 || dimensions > MOST_DIMENSIONS)
    throw cursor.broken(`${where} has ${dimensions} dimensions; 1 to ${MOST_DIMENSIONS} are read`);
  const shape = Array.from({ length: dimensions }, () => cursor.size(`${where}: extent`)).reverse();
  const id = cursor.u32(`${where}: type`);
  const type = GGUF_TYPES.get(id);
  if (type === undefined) throw cursor.broken(`${where} has type ${id}, which is not known`);
  const bytes = bytesOf(type, shape);
  if (bytes === undefined)
    throw cursor.broken(`${where} is ${type.name} [${shape.join(", ")}], which is no whole number of groups`);
  const begin = cursor.size(`${where}: offset`);
  return { name, type, shape, begin, end: begin + bytes };
}

/** Groups never cross a row's end. */
function bytesOf({ elements, bytes }: GgufType, shape: readonly number[]): number | undefined {
  let count = 1;
  for (const extent of shape) {
    count *= extent;
    if (extent < 1 || !Number.isSafeInteger(count * bytes)) return undefined;
  }
  return (shape.at(-1) ?? 0) % elements === 0 ? (count / elements) * bytes : undefined;
}

/** Tensors lie one behind the other, each on a border of the alignment. */
function checkCover(cursor: Cursor, tensors: readonly GgufTensor[], alignment: number, room: number): void {
  let at = 0;
  for (const { name, begin, end } of tensors) {
    const where = `tensor ${JSON.stringify(name)} begins at byte ${begin} of the data`;
    if (begin % alignment !== 0) throw cursor.broken(`${where}, which is no multiple of ${alignment}`);
    if (begin < at) throw cursor.broken(`${where}, inside the one before it, which ends at ${at}`);
    if (begin - at >= alignment) throw cursor.broken(`${where}, which leaves a hole of ${begin - at} bytes`);
    at = end;
  }
  if (at > room)
    throw cursor.broken(`has ${room} bytes of data, its header describes ${at}: it is truncated`);
  if (room - at >= alignment) throw cursor.broken(`has ${room - at} bytes behind its last tensor`);
}

function digestOf(file: string, fd: number, bytes: number): string {
  const hash = createHash("sha256");
  const cursor = new Cursor(file, fd, bytes);
  while (cursor.left > 0) hash.update(cursor.take(Math.min(cursor.left, 1 << 20), "header"));
  return hash.digest("hex");
}
