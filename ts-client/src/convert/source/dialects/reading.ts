/** What was found so far of a source's codes, as the dialects take them one after another. */
import { type ConvertCode, convertError } from "../../errors.js";
import type { Located } from "../source.js";
import { allTensors, type PartTensor, type Source, type SourceTensor, type Stored } from "../source.js";
import type { Quantization } from "./types.js";

/** What finds the codes of a source: each dialect takes its own, and what belongs to them. */
export class Reading {
  readonly quantization: Quantization;
  readonly #named: ReadonlyMap<string, Located>;
  readonly #read = new Map<string, SourceTensor>();
  readonly #left = new Map<string, string>();

  constructor(source: Source, quantization: Quantization) {
    this.quantization = quantization;
    this.#named = new Map(allTensors(source).map((one) => [one.tensor.name, one]));
  }

  get all(): Iterable<Located> {
    return this.#named.values();
  }

  get found(): boolean {
    return this.#read.size > 0;
  }

  named(name: string): Located | undefined {
    return this.#named.get(name);
  }

  /** Reads codes as a tensor of that name, dtype and shape. */
  take(codes: Located, made: Pick<SourceTensor, "name" | "dtype" | "shape">, stored: Stored): void {
    const { name, dtype, shape } = made;
    if (name !== codes.tensor.name && this.#named.has(name))
      throw this.wrong(codes, `is ${name}, which is there as well`, "remove one of the two");
    this.#read.set(codes.tensor.name, { ...codes.tensor, name, dtype, shape, stored });
  }

  /** A tensor of scales that stays where its codes do. */
  takeScale({ tensor }: Located, scaleOf: string): void {
    this.#read.set(tensor.name, { ...tensor, scaleOf });
  }

  /** What is in the numbers of `weight`, and so in no output by itself. */
  leave(weight: string, parts: readonly (Located | undefined)[]): void {
    for (const part of parts)
      if (part !== undefined) this.#left.set(part.tensor.name, `in the numbers of ${weight}`);
  }

  isTaken = (name: string): boolean => this.#read.has(name) || this.#left.has(name);
  read = (tensor: SourceTensor): SourceTensor => this.#read.get(tensor.name) ?? tensor;
  whyLeft = ({ name }: SourceTensor): string | undefined => this.#left.get(name);

  /** A refusal of a tensor; where the tool is one that is not read, that says why. */
  wrong(
    { file, tensor }: Located,
    problem: string,
    remedy: string,
    code: ConvertCode = "OPSWAP_E_CANNOT_CONVERT",
  ): Error {
    const { name, dtype, shape } = tensor;
    const what = `${file.path}: ${name} (${dtype} of [${shape.join(", ")}])`;
    const { unread } = this.quantization;
    if (unread === undefined) return convertError(code, `${what} ${problem}`, remedy);
    return convertError(
      "OPSWAP_E_CANNOT_CONVERT",
      `${what} ${problem}; the checkpoint is quantised by ${unread}, which is not read`,
      ORIGINAL,
    );
  }
}

export const ORIGINAL =
  "convert the checkpoint that this was made from; docs/convert-reference.md lists what is read";

export function partOf({ file, tensor }: Located): PartTensor {
  return { tensor, path: file.path, offset: file.header.dataStart + tensor.begin };
}

export const elementsOf = ({ shape }: Pick<SourceTensor, "shape">) =>
  shape.reduce((product, extent) => product * extent, 1);
