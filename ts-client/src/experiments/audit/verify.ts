/** Checks an audit: that each line follows from the one before, and that none is missing at the end. */
import { type AuditRecord, after, EMPTY, type Head, parseRecord } from "./record.js";

/** What a check found. `broken` is the first line that is wrong, from 1. */
export interface Verified {
  records: AuditRecord[];
  head: Head;
  broken: { line: number; what: string } | null;
  /** Bytes at the end that are no whole line: a writer was killed in it, and nobody was told that it was written. */
  unfinished: number;
}

/** Reads the text of an audit, whose end `known` must be in it: a head that was kept elsewhere shows that lines were cut. */
export function verify(text: string, known?: Head): Verified {
  const end = text.lastIndexOf("\n") + 1;
  const lines = text.slice(0, end).split("\n").slice(0, -1);
  const unfinished = Buffer.byteLength(text) - Buffer.byteLength(text.slice(0, end));
  const records: AuditRecord[] = [];
  let head = EMPTY;
  const found = (broken: Verified["broken"]): Verified => ({ records, head, broken, unfinished });
  for (const [i, line] of lines.entries()) {
    const record = parseRecord(line);
    const what = record === undefined ? "it is no record" : outOfChain(record, head);
    if (record === undefined || what !== undefined) return found({ line: i + 1, what: what ?? "" });
    records.push(record);
    head = after(head, line, record);
    if (known?.records === head.records && known.digest !== head.digest)
      return found({ line: i + 1, what: "it is not the record that the head names" });
  }
  if (known !== undefined && known.records > head.records) {
    const missing = known.records - head.records;
    return found({ line: head.records + 1, what: `${missing} records are missing: the file was cut` });
  }
  return found(null);
}

function outOfChain(record: AuditRecord, head: Head): string | undefined {
  if (record.n !== head.records + 1) return `it has number ${record.n}`;
  if (record.previous !== head.digest)
    return `it does not follow from line ${head.records}: that line or this one was changed`;
  return undefined;
}
