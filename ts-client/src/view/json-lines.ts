/** JSON of large results in pieces, so that no string holds all of it. */

const MOST_IN_ONE = 1 << 20;

/** The text of `JSON.stringify(value, null, 2)`, in pieces of whole lines without the break behind the last. */
export function* jsonPieces(value: unknown): Generator<string> {
  let piece = "";
  for (const line of lines(value)) {
    piece += piece === "" ? line : `\n${line}`;
    if (piece.length < MOST_IN_ONE) continue;
    yield piece;
    piece = "";
  }
  if (piece !== "") yield piece;
}

function* lines(value: unknown): Generator<string> {
  const entries = isObject(value) ? Object.entries(value).filter(([, entry]) => entry !== undefined) : [];
  if (entries.length === 0) {
    yield JSON.stringify(value, null, 2);
    return;
  }
  yield "{";
  for (const [index, [key, entry]] of entries.entries())
    yield* member(key, entry, index + 1 < entries.length ? "," : "");
  yield "}";
}

/** One member of the outermost object; its lists come element by element. */
function* member(key: string, value: unknown, comma: string): Generator<string> {
  if (!Array.isArray(value) || value.length === 0) {
    yield `  ${JSON.stringify(key)}: ${indented(value, "  ")}${comma}`;
    return;
  }
  yield `  ${JSON.stringify(key)}: [`;
  for (const [index, one] of value.entries())
    yield `    ${indented(one, "    ")}${index + 1 < value.length ? "," : ""}`;
  yield `  ]${comma}`;
}

const indented = (value: unknown, by: string) =>
  (JSON.stringify(value, null, 2) ?? "null").replaceAll("\n", `\n${by}`);

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !("toJSON" in value);
}
