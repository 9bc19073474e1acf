/** The audit in a file: a line for each record, chained by digests, and its head in a file beside it. */
import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import path from "node:path";
import * as z from "zod/mini";
import { syncFolder } from "../../convert/run/staging.js";
import { OpswapError } from "../../types/errors.js";
import { systemError } from "../../types/system-error.js";
import { locked } from "../file-lock.js";
import { type AuditEntry, after, chained, EMPTY, type Head, parseRecord, uncollected } from "./record.js";
import type { AuditStore } from "./store.js";
import { type Verified, verify } from "./verify.js";

const MOST_BYTES = 256 << 20;
/** The longest tail behind the head: records whose writers were killed before they wrote the head. */
const MOST_TAIL = 1 << 20;

const headFile = z.object({
  records: z.int().check(z.nonnegative()),
  bytes: z.int().check(z.nonnegative()),
  digest: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
  events: z.optional(z.record(z.string(), z.int())),
});

/** A head as `opswap audit show --head` prints it. */
export function parseHead(text: string): Head | undefined {
  try {
    return headFile.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/**
 * One file for all processes of a user. A record is on disk before append returns; a process that is killed in between leaves at most
 * a line that nobody was told of, which the next writer takes away when it is not whole.
 */
export class FileAudit implements AuditStore {
  readonly file: string;
  readonly #head: string;

  constructor(folder: string) {
    this.file = path.join(folder, "audit.jsonl");
    this.#head = path.join(folder, "audit.head");
  }

  async append(entry: AuditEntry): Promise<number> {
    return (await this.#locked((fd, end) => this.#append(fd, end, [entry]))).records;
  }

  async collect(events: readonly AuditEntry[]): Promise<number> {
    let added = 0;
    await this.#locked((fd, end) => {
      const fresh = uncollected(end, events);
      added = fresh.length;
      return added === 0 ? end : this.#append(fd, end, fresh);
    });
    return added;
  }

  /** Works behind what is whole, while no other process does. */
  async #locked(work: (fd: number, end: Head) => Head): Promise<Head> {
    try {
      mkdirSync(path.dirname(this.file), { recursive: true, mode: 0o700 });
      const fd = openSync(this.file, "a+", 0o600);
      try {
        await locked(fd, this.file, "OPSWAP_E_AUDIT_STORE");
        return work(fd, this.#end(fd));
      } finally {
        closeSync(fd);
      }
    } catch (cause) {
      throw unwritable(this.file, cause);
    }
  }

  verified(known?: Head): Verified {
    const text = readBounded(this.file);
    const own = verify(text, this.readHead());
    return known === undefined || own.broken ? own : verify(text, known);
  }

  /** What the file beside it says; a store without records has none. */
  readHead(): Head {
    const text = readIfThere(this.#head);
    if (text === undefined) return EMPTY;
    const head = parseHead(text);
    if (head) return head;
    throw new OpswapError("OPSWAP_E_AUDIT", `${this.#head} is not the head of an audit`);
  }

  #append(fd: number, end: Head, entries: readonly AuditEntry[]): Head {
    if (end.bytes < fstatSync(fd).size) ftruncateSync(fd, end.bytes);
    let head = end;
    let lines = "";
    for (const entry of entries) {
      const next = chained(head, entry, new Date());
      lines += `${next.line}\n`;
      head = next.head;
    }
    writeSync(fd, lines);
    fsyncSync(fd);
    this.#writeHead(head);
    return head;
  }

  /** The end of what is whole: the head's, or that of lines whose writers were killed before they wrote the head. */
  #end(fd: number): Head {
    let head = this.readHead();
    const { size } = fstatSync(fd);
    const begin = head.bytes;
    if (size < begin || size - begin > MOST_TAIL || !this.#endsWith(fd, head))
      throw new OpswapError(
        "OPSWAP_E_AUDIT",
        `${this.file} does not end as its head says: it was cut or changed`,
      );
    const tail = Buffer.alloc(size - begin);
    readSync(fd, tail, 0, tail.length, begin);
    for (const line of tail.toString("utf8").split("\n").slice(0, -1)) {
      const record = parseRecord(line);
      if (record?.previous !== head.digest)
        throw new OpswapError(
          "OPSWAP_E_AUDIT",
          `${this.file}: line ${head.records + 1} does not follow from the one before`,
        );
      head = after(head, line, record);
    }
    return head;
  }

  /** Whether the head's last byte ends a line: what is behind it is then whole lines. */
  #endsWith(fd: number, { bytes }: Head): boolean {
    const last = Buffer.alloc(1);
    return bytes === 0 || (readSync(fd, last, 0, 1, bytes - 1) === 1 && last[0] === 10);
  }

  #writeHead(head: Head): void {
    const fresh = `${this.#head}.fresh`;
    writeFileSync(fresh, `${JSON.stringify(head)}\n`, { mode: 0o600, flush: true });
    renameSync(fresh, this.#head);
    syncFolder(path.dirname(this.#head));
  }
}

/** Refuses an audit that was changed or cut, with the line. */
export function whole({ file }: FileAudit, found: Verified): Verified {
  if (found.broken === null) return found;
  const { line, what } = found.broken;
  throw new OpswapError("OPSWAP_E_AUDIT", `${file}, line ${line}: ${what}`);
}

function readBounded(file: string): string {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (size > MOST_BYTES) throw new OpswapError("OPSWAP_E_AUDIT", `${file} is over ${MOST_BYTES} bytes`);
  return readIfThere(file) ?? "";
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Whatever kept a record from being written, as one code that says so. */
function unwritable(file: string, cause: unknown): unknown {
  const known = cause instanceof OpswapError ? cause : systemError(cause);
  if (known === undefined || known.code.startsWith("OPSWAP_E_AUDIT")) return known ?? cause;
  return new OpswapError("OPSWAP_E_AUDIT_STORE", `${file} cannot be written: ${known.message}`, { cause });
}
