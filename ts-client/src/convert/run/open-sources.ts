/** Keeps a source's files open during a run, and refuses those that changed meanwhile. */
import { closeSync, openSync, statSync } from "node:fs";
import { convertError } from "../errors.js";
import type { SourceFile } from "../source/source.js";

/** Files of a source, each opened when it is first read. */
export class OpenSources {
  readonly #open = new Map<string, { file: SourceFile; fd: number }>();

  of(file: SourceFile): number {
    const known = this.#open.get(file.path);
    if (known !== undefined) return known.fd;
    const fd = openSync(file.path, "r");
    this.#open.set(file.path, { file, fd });
    return fd;
  }

  /** Refuses files that are not what they were when their headers were read. */
  checkSame(): void {
    for (const { file } of this.#open.values()) {
      const { mtimeNs, size } = statSync(file.path, { bigint: true });
      if (String(mtimeNs) !== file.modified || Number(size) !== file.bytes)
        throw convertError("OPSWAP_E_SOURCE_CHANGED", `${file.path} was written to while it was read`);
    }
  }

  close(): void {
    for (const { fd } of this.#open.values()) closeSync(fd);
    this.#open.clear();
  }
}
