// How large the packages are, and how much of the library is for the CPU and how much for CUDA, compressed as a wheel does.
import { readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { deflateRawSync } from "node:zlib";
import { probe } from "../exec.mjs";
import { nativeDir } from "../paths.mjs";
import { SetupError } from "../ui.mjs";

/** @typedef {{ bytes: number, compressed: number }} Part */
/** @typedef {{ library: { all: Part, cuda: Part, cpu: Part }, wheels: Record<string, number>, tarballs: Record<string, number> }} Sizes */

const MB = 1e6;
/** No wheel is larger. */
const WHEEL_LIMIT_MB = 25;

/** @param {Buffer} data @returns {Part} */
function part(data) {
  return { bytes: data.length, compressed: deflateRawSync(data).length };
}

/** Section of an ELF file that holds the kernels for CUDA; absent where the library has none. @param {string} file */
async function cudaSection(file) {
  const sections = (await probe("readelf", ["-SW", file])) ?? "";
  const [, offset = "0", size = "0"] = /\.nv_fatbin\s+PROGBITS\s+\w+\s+(\w+)\s+(\w+)/.exec(sections) ?? [];
  return { from: Number.parseInt(offset, 16), bytes: Number.parseInt(size, 16) };
}

/**
 * @param {string} out @param {string[]} wheels @param {import("./tarballs.mjs").Tarball[]} tarballs
 * @returns {Promise<Sizes>} throws when a wheel is over the limit; the tarballs' own is looked at where they are made
 */
export async function measure(out, wheels, tarballs) {
  const file = join(nativeDir, "libopswap.so");
  const { from, bytes } = await cudaSection(file);
  const data = readFileSync(file);
  const cpu = Buffer.concat([data.subarray(0, from), data.subarray(from + bytes)]);
  const sizes = Object.fromEntries(wheels.map((name) => [name, statSync(join(out, name)).size]));
  const over = wheels.filter((name) => (sizes[name] ?? 0) > WHEEL_LIMIT_MB * MB);
  if (over.length > 0) throw new SetupError(`larger than ${WHEEL_LIMIT_MB} MB: ${over.join(", ")}`);
  return {
    library: { all: part(data), cuda: part(data.subarray(from, from + bytes)), cpu: part(cpu) },
    wheels: sizes,
    tarballs: Object.fromEntries(tarballs.map(({ file, bytes }) => [basename(file), bytes])),
  };
}

/** @param {number} bytes */
const mb = (bytes) => `${(bytes / MB).toFixed(1)} MB`;

/** @param {Sizes} sizes @returns {string[]} */
export function sizeLines({ library, wheels, tarballs }) {
  const { cpu, cuda, all } = library;
  return [
    ...Object.entries({ ...wheels, ...tarballs }).map(([name, bytes]) => `${name}: ${mb(bytes)}`),
    `libopswap.so: ${mb(all.bytes)}; compressed ${mb(cpu.compressed)} for the CPU and ${mb(cuda.compressed)} for CUDA`,
  ];
}
