import { convertError } from "../errors.js";
import type { GgufHeader } from "./header.js";

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

  /** A number of the architecture; a list must say the same for every layer. */
  own(name: string): number | undefined {
    const key = `${this.architecture}.${name}`;
    const value = this.#header.metadata.get(key);
    if (!Array.isArray(value)) return this.number(key);
    const [first] = value;
    if (Number.isFinite(first) && value.every((one) => one === first)) return Number(first);
    throw convertError("OPSWAP_E_CANNOT_CONVERT", `${this.file}: ${key} is not the same for every layer`);
  }

  ownText(name: string): string | undefined {
    return this.text(`${this.architecture}.${name}`);
  }

  need(name: string): number {
    return this.own(name) ?? this.#missing(`${this.architecture}.${name}`);
  }

  count(name: string): number {
    const value = this.need(name);
    if (Number.isInteger(value) && value > 0) return value;
    throw this.#wrong(`${this.architecture}.${name}`, "a positive whole number");
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
