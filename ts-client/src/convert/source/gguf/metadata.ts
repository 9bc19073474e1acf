/** Look-ups in a GGUF file's metadata, which refuse values of another type. */
import { convertError } from "../../errors.js";
import type { GgufHeader } from "./header.js";
import type { MetadataValue } from "./values.js";

const MOST_COUNT = 2 ** 31;
/** What a file says that has no such token: -1 in 32 bits. */
const NO_TOKEN = 2 ** 32 - 1;

/** Typed look-ups in a file's metadata; keys of the architecture go without its prefix. */
export class Metadata {
  readonly file: string;
  readonly architecture: string;
  readonly #header: GgufHeader;

  constructor(file: string, header: GgufHeader) {
    this.file = file;
    this.#header = header;
    this.architecture = "";
    this.architecture = this.text("general.architecture") ?? this.#missing("general.architecture");
  }

  text(key: string): string | undefined {
    const value = this.#header.metadata.get(key);
    if (value === undefined || typeof value === "string") return value;
    throw this.#wrong(key, "a string");
  }

  number(key: string): number | undefined {
    const value = this.#header.metadata.get(key);
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isFinite(value)) return value;
    if (typeof value === "bigint" && Number.isSafeInteger(Number(value))) return Number(value);
    throw this.#wrong(key, "a number");
  }

  /** Elements of a list; 0 where there is none. */
  length(key: string): number {
    const value = this.#header.metadata.get(key);
    if (value === undefined) return 0;
    if (typeof value === "object") return value.length;
    throw this.#wrong(key, "a list");
  }

  flag(key: string): boolean | undefined {
    const value = this.#header.metadata.get(key);
    if (value === undefined || typeof value === "boolean") return value;
    throw this.#wrong(key, "true or false");
  }

  /** The id of a token; undefined where the file says that there is none. */
  token(key: string): number | undefined {
    const id = this.number(key);
    if (id === undefined || id === NO_TOKEN || id === -1) return undefined;
    if (Number.isInteger(id) && id >= 0) return id;
    throw this.#wrong(key, "the number of a token");
  }

  /** A number of the architecture; a list must say the same for every layer. */
  own(name: string): number | undefined {
    const key = `${this.architecture}.${name}`;
    const value = this.#header.metadata.get(key);
    if (!Array.isArray(value)) return this.number(key);
    const [first] = value;
    if (Number.isFinite(first) && value.every((one) => one === first)) return Number(first);
    throw convertError(
      "OPSWAP_E_CANNOT_CONVERT",
      `${this.file}: ${key} is not the same for every layer`,
      "config.json has one value for all layers of this architecture; convert the original safetensors instead",
    );
  }

  /** A number of the architecture that must lie between two others. */
  between(name: string, least: number, most: number): number | undefined {
    const value = this.own(name);
    if (value === undefined || (value >= least && value <= most)) return value;
    throw this.#wrong(`${this.architecture}.${name}`, `between ${least} and ${most}`);
  }

  ownText(name: string): string | undefined {
    return this.text(`${this.architecture}.${name}`);
  }

  /** The value of a key of the architecture as the file has it. */
  raw(name: string): MetadataValue | undefined {
    return this.#header.metadata.get(`${this.architecture}.${name}`);
  }

  get entries(): ReadonlyMap<string, MetadataValue> {
    return this.#header.metadata;
  }

  need(name: string): number {
    return this.own(name) ?? this.#missing(`${this.architecture}.${name}`);
  }

  count(name: string): number {
    return this.optionalCount(name) ?? this.#missing(`${this.architecture}.${name}`);
  }

  optionalCount(name: string): number | undefined {
    const value = this.own(name);
    if (value === undefined || (Number.isInteger(value) && value > 0 && value < MOST_COUNT)) return value;
    throw this.#wrong(`${this.architecture}.${name}`, "a positive whole number below 2^31");
  }

  #missing(key: string): never {
    throw convertError("OPSWAP_E_SOURCE", `${this.file} has no metadata ${key}`);
  }

  #wrong(key: string, wanted: string): Error {
    const value = this.#header.metadata.get(key);
    const shown = typeof value === "object" ? "a list" : String(value).slice(0, 80);
    return convertError("OPSWAP_E_SOURCE", `${this.file}: ${key} is ${shown}, not ${wanted}`);
  }
}
