/** Lays out text tables. */

/** A column: its head, and whether its cells are numbers, which line up at the right. */
export interface Column {
  head: string;
  right?: boolean;
}

/** Lines of a table, columns two spaces apart, without trailing blanks. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const widths = columns.map((column, i) =>
    Math.max(column.head.length, ...rows.map((row) => row[i]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    columns.map((column, i) => pad(cells[i] ?? "", widths[i] ?? 0, column.right)).join("  ");
  return [line(columns.map((column) => column.head)), ...rows.map(line)].map((text) => text.trimEnd());
}

/** Text cut or filled to exactly `width`; a cut shows as an ellipsis. */
export function toWidth(text: string, width: number, right = false): string {
  if (text.length <= width) return pad(text, width, right);
  return width <= 1 ? text.slice(0, width) : `${text.slice(0, width - 1)}…`;
}

function pad(text: string, width: number, right = false): string {
  return right ? text.padStart(width) : text.padEnd(width);
}
