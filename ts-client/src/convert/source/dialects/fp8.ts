/** FP8 weights in a source, with the scales that belong to them. */
import type { Located, ScaleGrid, Source, Stored } from "../source.js";
import { quantizationOf } from "./quantization.js";
import { Reading } from "./reading.js";
import { scalesOf } from "./scale-grid.js";

const CODES = /^F8_E[45]M[23](FNUZ)?$/;
const REMEDY =
  "its codes alone would be other weights: fetch the file that has its scales, or convert the checkpoint that this was made from";

/** Finds the scales of FP8 weights alone, as repack and the layouts of FP8 want them. */
export function withScales(source: Source): Source {
  if (source.kind === "gguf") return source;
  const quantization = quantizationOf(source);
  const reading = new Reading(source, quantization);
  takeFp8(reading);
  const files = source.files.map((file) => ({
    ...file,
    header: { ...file.header, tensors: file.header.tensors.map(reading.read) },
  }));
  return { ...source, files, fp8: reading.found || quantization.known };
}

/** FP8 codes of any shape and name, with the scales beside them. */
export function takeFp8(reading: Reading): void {
  for (const one of reading.all) {
    const { tensor } = one;
    if (!CODES.test(tensor.dtype) || reading.isTaken(tensor.name)) continue;
    const scale = scaleBeside(reading, one);
    const { slices, ...grid } = scalesOf(reading, one, scale, tensor.shape, reading.quantization.block);
    reading.take(one, tensor, fp8Stored(grid, slices));
    reading.takeScale(scale, tensor.name);
  }
}

const fp8Stored = (scales: ScaleGrid, slices: number): Stored => ({
  scales,
  ...(slices === 1 ? {} : { slices }),
});

/** Names of a tensor's scales: DeepSeek's, compressed-tensors' and ModelOpt's, and those of DeepSeek's own code. */
function scaleNames(name: string): string[] {
  const own = [`${name}_scale_inv`, `${name}_scale`];
  const layer = /^(.*\.)?weight$/.exec(name);
  return layer === null ? own : [...own, `${layer[1] ?? ""}scale`];
}

function scaleBeside(reading: Reading, codes: Located): Located {
  const names = scaleNames(codes.tensor.name);
  const [found, other] = names.flatMap((name) => reading.named(name) ?? []);
  if (found === undefined)
    throw reading.wrong(
      codes,
      `has no ${names[0]} or ${names[1]}${near(reading, codes)}`,
      REMEDY,
      "OPSWAP_E_SOURCE",
    );
  if (other === undefined) return found;
  throw reading.wrong(
    codes,
    `has two tensors of scales, ${found.tensor.name} and ${other.tensor.name}`,
    "remove the one that is not of these codes",
  );
}

/** What may be the scales under another name. */
function near(reading: Reading, { tensor }: Located): string {
  const stem = tensor.name.replace(/weight$/, "");
  const found = [...reading.all].find(({ tensor: { name } }) => name.startsWith(stem) && /scale/.test(name));
  return found === undefined ? "" : `; ${found.tensor.name} is not read as its scales`;
}
