/** numpy's .npy files. */
import { elements, type FileTensor, fileError } from "./types.js";

const MAGIC = Buffer.from("\x93NUMPY", "latin1");
/** numpy's type strings, little-endian; bfloat16 has none, which is what safetensors is for. */
const DESCR: Record<string, string> = {
  float64: "<f8",
  float32: "<f4",
  float16: "<f2",
  int64: "<i8",
  int32: "<i4",
  int8: "|i1",
  uint8: "|u1",
  bool: "|b1",
};
const HEADER = /^\{'descr': '([^']+)', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\),? *\}\s*$/;

/** Parses a .npy file, versions 1 to 3. */
export function parseNpy(file: string, data: Buffer): FileTensor {
  if (data.length < 12 || !data.subarray(0, 6).equals(MAGIC)) throw fileError(file, "is not a .npy file");
  const wide = (data[6] ?? 1) >= 2;
  const start = (wide ? 12 : 10) + (wide ? data.readUInt32LE(8) : data.readUInt16LE(8));
  const header = HEADER.exec(data.toString("latin1", wide ? 12 : 10, start));
  if (!header) throw fileError(file, "has a header that is not a plain array's");
  const [, descr = "", fortran, dims = ""] = header;
  const dtype = Object.keys(DESCR).find((name) => DESCR[name] === descr);
  if (dtype === undefined) {
    const hint = /V2|bf/.test(descr) ? " (bfloat16 needs .safetensors)" : "";
    throw fileError(file, `has dtype ${descr}; readable are ${Object.values(DESCR).join(", ")}${hint}`);
  }
  if (fortran === "True") throw fileError(file, "is in Fortran order; save numpy.ascontiguousarray of it");
  const shape = dims
    .split(",")
    .filter((dim) => dim.trim() !== "")
    .map(Number);
  const bytes = data.subarray(start);
  const expected = elements(shape) * Number(descr.at(-1));
  if (bytes.length !== expected)
    throw fileError(file, `holds ${bytes.length} bytes of data, its header says ${expected}`);
  return { dtype, shape, bytes };
}

/** Numpy's name of a dtype, or the refusal of one that it has none for. */
export function checkNpy(file: string, dtype: string): string {
  const descr = DESCR[dtype];
  if (descr !== undefined) return descr;
  throw fileError(file, `.npy has no dtype ${dtype}; save as .safetensors`, "name FILE.safetensors");
}

/** The bytes of a .npy file, version 1. */
export function formatNpy(file: string, tensor: FileTensor): Buffer {
  const descr = checkNpy(file, tensor.dtype);
  const dims = tensor.shape.length === 1 ? `${tensor.shape[0]},` : tensor.shape.join(", ");
  const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${dims}), }`;
  const padded = `${header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11)}\n`;
  const prefix = Buffer.concat([MAGIC, Buffer.from([1, 0, padded.length & 0xff, padded.length >> 8])]);
  return Buffer.concat([prefix, Buffer.from(padded, "latin1"), tensor.bytes]);
}
