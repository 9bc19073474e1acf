/** Finds the scales of --awq by the least weighted error of the codes. */
import { closeSync, openSync, readSync } from "node:fs";
import { loadNative } from "../../native.js";
import type { BlockScheme, ConvertJob } from "../../types/convert-job.js";
import { weighted } from "../formats/types.js";
import { jobPlanes } from "../source/job-planes.js";
import type { Located } from "../source/source.js";
import type { Calibration } from "./calibration.js";
import { channelScales, floored, gather, type NormFactors, normFactors, STEPS, spread } from "./factors.js";
import type { FoldReport } from "./fold-report.js";
import type { Fold, Folded } from "./types.js";

/** Which exponent a fold gets, and the weighted error of its codes without scales and with them. */
interface SearchResult {
  step: number;
  before: number;
  after: number;
}

/** What a step makes of a fold: of the channels' source, and of the columns that read them. */
interface Factors {
  from: { columnFactors?: Float32Array; rowFactors?: Float32Array; add?: number; after?: number };
  columns: Float64Array;
}

/** A tensor with the scales of channels that it makes or reads. */
interface Scalable {
  folds: readonly Folded[];
}

type Scaled = Pick<ConvertJob, "scaled" | "columnFactors" | "rowFactors" | "add" | "after" | "importance">;

/**
 * Finds the scales of a plan's folds when the first tensor of each is its turn. Of each only the exponent is kept: the
 * scales are made again from it, so that memory does not grow with the model.
 */
export class Scaling {
  readonly #calibration: Calibration | null;
  readonly #found = new Map<Fold, Promise<SearchResult>>();

  constructor(calibration: Calibration | null) {
    this.#calibration = calibration;
  }

  /** What a tensor's elements are multiplied by. */
  async of({ folds }: Scalable, threads: number): Promise<Scaled> {
    const scaled: Scaled = { scaled: true };
    for (const { fold, role } of folds) {
      const { from, columns } = this.#factors(fold, (await this.#search(fold, threads)).step);
      if (role === "from") Object.assign(scaled, from);
      else Object.assign(scaled, this.#columns(fold, columns));
    }
    return scaled;
  }

  /** What the report says of a tensor's folds. */
  async report({ folds }: Scalable, threads: number): Promise<FoldReport[]> {
    return Promise.all(folds.map((one) => this.#reportOne(one, threads)));
  }

  async #reportOne({ fold, role }: Folded, threads: number): Promise<FoldReport> {
    const { step, before, after } = await this.#search(fold, threads);
    return {
      role,
      from: fold.from.tensor.name,
      alpha: step / STEPS,
      error_before: before,
      error_after: after,
    };
  }

  #search(fold: Fold, threads: number): Promise<SearchResult> {
    const known = this.#found.get(fold);
    if (known !== undefined) return known;
    const search = this.#best(fold, threads);
    this.#found.set(fold, search);
    search.catch(() => this.#found.delete(fold));
    return search;
  }

  async #best(fold: Fold, threads: number): Promise<SearchResult> {
    const before = await this.#error(fold, fold.scheme, 0, threads);
    const best = { step: 0, before, after: Number.POSITIVE_INFINITY };
    const scheme = weighted(fold.scheme);
    for (let step = 0; step <= STEPS; step++) {
      const after = await this.#error(fold, scheme, step, threads);
      if (after < best.after) Object.assign(best, { step, after });
    }
    return best;
  }

  /** Of the codes of all that are searched: each column's squared error, times the mean square of its input. */
  async #error(fold: Fold, scheme: BlockScheme, step: number, threads: number): Promise<number> {
    const weights = this.#columns(fold, this.#factors(fold, step).columns);
    let total = 0;
    for (const one of fold.searched) total += await weigh(one, scheme, weights, threads);
    return total;
  }

  #factors(fold: Fold, step: number): Factors {
    const scales = channelScales(gather(this.#meanSquares(fold), fold), step);
    if (fold.kind === "norm") {
      const add = fold.from.tensor.stored?.add ?? 0;
      const made = normFactors(readVector(fold.from), scales, { add, plusOne: fold.plusOne });
      return { from: normJob(made), columns: made.columns };
    }
    const rowFactors = Float32Array.from(scales, (scale) => 1 / scale);
    return {
      from: { rowFactors },
      columns: spread(
        rowFactors.map((factor) => 1 / factor),
        fold,
      ),
    };
  }

  /** A scaled column's error is its factor larger than that of the weights it stands for. */
  #columns(fold: Fold, columns: Float64Array): Weights {
    const squares = this.#meanSquares(fold);
    const importance = Float32Array.from(columns, (factor, i) => (squares[i] ?? 0) / (factor * factor));
    return { columnFactors: Float32Array.from(columns), importance };
  }

  #meanSquares({ measured }: Fold): Float64Array {
    const values = this.#calibration?.statistic(measured, "mean_square");
    if (!values) throw new Error(`${measured.name} has lost its statistics`);
    return floored(values);
  }
}

const normJob = ({ factors: columnFactors, add, after }: NormFactors) => ({ columnFactors, add, after });

type Weights = Required<Pick<ConvertJob, "columnFactors" | "importance">>;

/** What is not finite is left to the tensor's own turn. */
async function weigh(
  { file, tensor }: Located,
  scheme: BlockScheme,
  weights: Weights,
  threads: number,
): Promise<number> {
  const source = openSync(file.path, "r");
  try {
    const { stats } = await loadNative().convertTensor({
      mode: "weigh",
      scheme,
      element: tensor.dtype,
      nonfinite: "zero",
      source,
      target: -1,
      sourceOffset: file.header.dataStart + tensor.begin,
      dataOffset: 0,
      scaleOffset: 0,
      rows: tensor.shape[0] ?? 0,
      columns: tensor.shape[1] ?? 0,
      threads,
      ...jobPlanes(tensor, file.header.dataStart + tensor.begin),
      scaled: true,
      ...weights,
    });
    return stats.weighted;
  } finally {
    closeSync(source);
  }
}

/** A norm's weights as they are stored. */
function readVector({ file, tensor }: Located): Float32Array {
  const bytes = Buffer.alloc(tensor.end - tensor.begin);
  const fd = openSync(file.path, "r");
  try {
    readSync(fd, bytes, 0, bytes.length, file.header.dataStart + tensor.begin);
  } finally {
    closeSync(fd);
  }
  const count = tensor.shape[0] ?? 0;
  if (tensor.dtype === "F32") return Float32Array.from({ length: count }, (_, i) => bytes.readFloatLE(4 * i));
  const convert = tensor.dtype === "BF16" ? fromBf16 : fromHalf;
  return Float32Array.from({ length: count }, (_, i) => convert(bytes.readUInt16LE(2 * i)));
}

const word = new DataView(new ArrayBuffer(4));

function fromBf16(bits: number): number {
  word.setUint16(0, bits);
  word.setUint16(2, 0);
  return word.getFloat32(0);
}

function fromHalf(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const sign = bits >> 15 ? -1 : 1;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}
