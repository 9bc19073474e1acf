/** What an audit store does, and the one that lives in memory, for tests. */
import { type AuditEntry, type AuditRecord, chained, EMPTY, type Head, uncollected } from "./record.js";
import { type Verified, verify } from "./verify.js";

/** Records are added at the end, and never changed. */
export interface AuditStore {
  /** Returns the record's number once it is kept. */
  append(entry: AuditEntry): Promise<number>;
  /** Appends those of an engine's events that are not there yet; how many. */
  collect(events: readonly AuditEntry[]): Promise<number>;
  /** All records, checked; `head` is one that was kept elsewhere. */
  verified(head?: Head): Verified;
}

export class MemoryAudit implements AuditStore {
  #text = "";
  #head = EMPTY;

  async append(entry: AuditEntry): Promise<number> {
    const { line, head } = chained(this.#head, entry, new Date());
    this.#text += `${line}\n`;
    this.#head = head;
    return head.records;
  }

  async collect(events: readonly AuditEntry[]): Promise<number> {
    const fresh = uncollected(this.#head, events);
    for (const entry of fresh) await this.append(entry);
    return fresh.length;
  }

  verified(head: Head = this.#head): Verified {
    return verify(this.#text, head);
  }
}

export type { AuditEntry, AuditRecord, Head, Verified };
