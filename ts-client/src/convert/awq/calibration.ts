/** Reads a file of statistics of the layers' inputs. */
import { createHash } from "node:crypto";
import { closeSync, existsSync, openSync, readSync } from "node:fs";
import { convertError } from "../errors.js";
import { inputScaleName } from "../formats/w4afp8.js";
import type { Group } from "../readers/layers.js";
import { fusedNames } from "../source/layer-names.js";
import { readHeader, type TensorEntry } from "../source/safetensors/header.js";

const LARGEST_CODE = 448;
const CHUNK = 1 << 22;

/** Statistics of a layer's inputs, one number for each column of its matrix. */
export type Statistic = "absmax" | "mean_square";

/**
 * What layers met when the model ran: `TENSOR.absmax` and `TENSOR.mean_square`, float32 for each column, or scales that
 * another tool measured, as `LAYER.input_scale`. Layers that engines fuse have the same inputs, so one entry serves all.
 */
export class Calibration {
  readonly sha256: string;
  readonly #file: string;
  readonly #entries: ReadonlyMap<string, TensorEntry>;
  readonly #dataStart: number;
  readonly #groups: readonly Group[];

  private constructor(file: string, groups: readonly Group[]) {
    if (!existsSync(file)) throw convertError("OPSWAP_E_CALIBRATION", `${file} does not exist`);
    const header = readHeader(file);
    this.#file = file;
    this.#groups = groups;
    this.#dataStart = header.dataStart;
    this.#entries = new Map(header.tensors.map((one) => [one.name, one]));
    this.sha256 = digestOf(file);
  }

  /** `groups` are the parts that engines fuse. */
  static open(file: string, groups: readonly Group[]): Calibration {
    return new Calibration(file, groups);
  }

  /** Null where it has none. */
  statistic(tensor: TensorEntry, what: Statistic): Float32Array | null {
    return this.#statistics(tensor, what)[0] ?? null;
  }

  /** Static scale of a layer's inputs: the given one, or that of the largest input; null where neither is known. */
  inputScale(tensor: TensorEntry): number | null {
    const given = this.#together(tensor).flatMap((name) => {
      const entry =
        this.#entries.get(inputScaleName(name)) ??
        this.#entries.get(name.replace(/\.weight$/, ".input_scale"));
      return entry === undefined ? [] : [this.#values(entry, 1)[0] ?? 0];
    });
    if (given.length > 0) return Math.max(...given);
    const largest = this.#statistics(tensor, "absmax").map((one) => one.reduce((a, b) => Math.max(a, b), 0));
    return largest.length === 0 ? null : Math.fround(Math.max(...largest) / LARGEST_CODE);
  }

  #statistics(tensor: TensorEntry, what: Statistic): Float32Array[] {
    return this.#together(tensor).flatMap((name) => {
      const entry =
        this.#entries.get(`${name}.${what}`) ?? this.#entries.get(`${name.replace(/\.weight$/, "")}.${what}`);
      return entry === undefined ? [] : [this.#values(entry, tensor.shape[1] ?? 0)];
    });
  }

  #together(tensor: TensorEntry): string[] {
    const names = fusedNames(tensor.name, this.#groups, (name) => name === tensor.name || this.#has(name));
    return [tensor.name, ...names.filter((name) => name !== tensor.name)];
  }

  #has(name: string): boolean {
    const module = name.replace(/\.weight$/, "");
    const ends = ["absmax", "mean_square"].flatMap((end) => [`${name}.${end}`, `${module}.${end}`]);
    return [...ends, `${module}.input_scale`, inputScaleName(name)].some((one) => this.#entries.has(one));
  }

  #values(entry: TensorEntry, count: number): Float32Array {
    const bytes = Buffer.alloc(entry.end - entry.begin);
    if (entry.dtype !== "F32" || bytes.length !== 4 * count)
      throw convertError(
        "OPSWAP_E_CALIBRATION",
        `${this.#file}: ${entry.name} is ${entry.dtype} of [${entry.shape.join(", ")}], not F32 of [${count}]`,
      );
    const fd = openSync(this.#file, "r");
    readSync(fd, bytes, 0, bytes.length, this.#dataStart + entry.begin);
    closeSync(fd);
    const values = new Float32Array(bytes.buffer, bytes.byteOffset, count);
    const bad = values.findIndex((value) => !(value >= 0 && Number.isFinite(value)));
    if (bad >= 0)
      throw convertError("OPSWAP_E_CALIBRATION", `${this.#file}: ${entry.name}[${bad}] is ${values[bad]}`);
    return values;
  }
}

function digestOf(file: string): string {
  const hash = createHash("sha256");
  const chunk = Buffer.alloc(CHUNK);
  const fd = openSync(file, "r");
  for (let n = readSync(fd, chunk); n > 0; n = readSync(fd, chunk)) hash.update(chunk.subarray(0, n));
  closeSync(fd);
  return hash.digest("hex");
}
