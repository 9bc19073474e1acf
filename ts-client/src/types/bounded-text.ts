/** The text of a file of which no size is known, such as a device or a pipe: never more of it than a bound. */
import { closeSync, openSync, readSync } from "node:fs";

/** Undefined where there is more than `most` bytes. */
export function boundedText(file: string, most: number): string | undefined {
  const bytes = Buffer.alloc(most + 1);
  const fd = openSync(file, "r");
  try {
    let size = 0;
    for (let read = -1; read !== 0 && size < bytes.length; size += read)
      read = readSync(fd, bytes, size, bytes.length - size, null);
    return size > most ? undefined : bytes.toString("utf8", 0, size);
  } finally {
    closeSync(fd);
  }
}
