/** Finds the digests that came with a source, and compares files with them. */
import { createHash } from "node:crypto";
import { createReadStream, existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import path from "node:path";
import { convertError } from "../errors.js";
import { DIGEST_LISTS } from "./known-files.js";
import type { Source, SourceFile } from "./source.js";

/** A digest that came with a file, and what says so. */
export interface ExpectedDigest {
  sha256: string;
  from: string;
}

const SHA256 = /^[0-9a-f]{64}$/;
/** `HEX  NAME`, `HEX *NAME` and `HEX` alone, which is of the file that the list is named after. */
const LINE = /^([0-9a-fA-F]{64})(?:[ \t]+\*?(?:\.\/)?(.+))?$/;
const CHUNK_BYTES = 1 << 20;

/** Digests that a source brings: its own lists, the names in a Hugging Face cache, and what its downloader noted; by path. */
export function expectedDigests({ folder, files }: Source): Map<string, ExpectedDigest> {
  const listed = readLists(folder);
  const found = files.flatMap((file): [string, ExpectedDigest][] => {
    const name = path.basename(file.path);
    const one = listed.get(name) ?? fromCache(file) ?? fromDownload(folder, name);
    return one === undefined ? [] : [[file.path, one]];
  });
  return new Map(found);
}

function readLists(folder: string): Map<string, ExpectedDigest> {
  const all = new Map<string, ExpectedDigest>();
  for (const list of readdirSync(folder)
    .filter((name) => DIGEST_LISTS.test(name))
    .sort()) {
    for (const line of readFileSync(path.join(folder, list), "utf8").split(/\r?\n/)) {
      const [, hex, name = list.replace(/\.sha256$/i, "")] = LINE.exec(line.trimEnd()) ?? [];
      if (hex === undefined) continue;
      const sha256 = hex.toLowerCase();
      const other = all.get(name);
      if (other !== undefined && other.sha256 !== sha256)
        throw convertError(
          "OPSWAP_E_SOURCE",
          `${list} and ${other.from} in ${folder} have different digests of ${name}`,
          "remove the list that is out of date, or say --no-checksums",
        );
      all.set(name, { sha256, from: list });
    }
  }
  return all;
}

/** In a Hugging Face cache a file is a link to a blob, and a large blob's name is its digest. */
function fromCache(file: SourceFile): ExpectedDigest | undefined {
  const blob = path.basename(realpathSync(file.path));
  return SHA256.test(blob) ? { sha256: blob, from: "the cache's name of it" } : undefined;
}

/** `hf download --local-dir` notes the server's etag, which is the digest of a large file. */
function fromDownload(folder: string, name: string): ExpectedDigest | undefined {
  const note = path.join(folder, ".cache/huggingface/download", `${name}.metadata`);
  if (!existsSync(note)) return undefined;
  const etag = readFileSync(note, "utf8").split("\n")[1]?.trim() ?? "";
  return SHA256.test(etag) ? { sha256: etag, from: path.relative(folder, note) } : undefined;
}

/** Reads a file and refuses it when it is not what its digest says. */
export async function checkDigest(
  file: SourceFile,
  { sha256, from }: ExpectedDigest,
  signal: AbortSignal,
): Promise<void> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file.path, { highWaterMark: CHUNK_BYTES, signal }))
    hash.update(chunk);
  const found = hash.digest("hex");
  if (found === sha256) return;
  throw convertError(
    "OPSWAP_E_SOURCE",
    `${file.path} is damaged: its sha256 is ${found}, and ${from} says ${sha256}`,
    "fetch the file again; --no-checksums converts what is there",
  );
}
