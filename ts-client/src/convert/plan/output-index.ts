/** Makes the text of an output's model.safetensors.index.json. */
import type { PlannedFile } from "./types.js";

/**
 * The index of an output, name by name: the file of each tensor. It comes in pieces, because with all names of a large
 * model it is megabytes.
 */
export function* indexText(files: readonly PlannedFile[]): Generator<string> {
  const entries = files.flatMap((file) => file.layout.placed.map(({ name }) => ({ name, file: file.name })));
  const total = files.reduce((bytes, { layout }) => bytes + layout.bytes - layout.headBytes, 0);
  yield `{\n  "metadata": {\n    "total_size": ${total}\n  },\n  "weight_map": {`;
  let before = "";
  for (const { name, file } of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    yield `${before}\n    ${JSON.stringify(name)}: ${JSON.stringify(file)}`;
    before = ",";
  }
  yield "\n  }\n}\n";
}

export function bytesOfIndex(files: readonly PlannedFile[]): number {
  let bytes = 0;
  for (const part of indexText(files)) bytes += Buffer.byteLength(part);
  return bytes;
}
