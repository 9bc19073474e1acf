/** The lines of the whole screen, for its size. */
import { wrap } from "../view/fit.js";
import { emptyLine, healthLine, hintLine, type Line, overlayLines, titleLine } from "./lines.js";
import { visiblePart } from "./rows.js";
import { opNames, rowsOf, type State, selectedIndex } from "./state.js";
import { layout } from "./table.js";

/** The body never has fewer lines: a head and a row, or two lines of text. */
const LEAST_BODY = 2;

/** The whole screen: as many lines as fit, none wider than it. */
export function screenLines(state: State, now: number): Line[] {
  const { before, body, after } = partsOf(state, now);
  const shown = inTable(state) ? tableBody(state, body) : overlayBody(state, body);
  const blank = Array.from({ length: body - shown.length }, (): Line => ({ text: "", tone: "plain" }));
  return [...before, ...shown, ...blank, ...after];
}

/** How far the text that covers the table can be scrolled. */
export function lastTop(state: State, now: number): number {
  return Math.max(0, wrapped(state).length - partsOf(state, now).body);
}

function inTable({ mode }: State): boolean {
  return mode.kind === "table" || mode.kind === "filter";
}

/** What is above and below the body, and the lines that are left for it. */
function partsOf(state: State, now: number): { before: Line[]; body: number; after: Line[] } {
  // The last line stays empty: what fills a terminal, ink draws afresh each time, clearing it and its history.
  const rows = Math.max(1, state.size.height - 1);
  let left = Math.max(0, rows - LEAST_BODY);
  const take = (line: Line, most: number) => {
    const lines = limited(folded(line, state.size.width), Math.min(left, most));
    left -= lines.length;
    return lines;
  };
  const health = take(healthLine(state, now), Math.max(1, Math.floor(rows / 3)));
  const after = take({ text: hintLine(state), tone: "dim" }, rows > 8 ? 3 : 1);
  const title = take({ text: titleLine(state), tone: "title" }, rows > 8 ? 2 : 1);
  const before = [...title, ...health];
  return { before, body: rows - before.length - after.length, after };
}

function folded({ text, tone, hang = 0 }: Line, width: number): Line[] {
  return wrap(text, width, hang).map((part) => ({ text: part, tone }));
}

/** The first lines; an ellipsis says that there are more. */
function limited(lines: Line[], most: number): Line[] {
  const last = lines[most - 1];
  if (lines.length <= most || !last) return lines.slice(0, most);
  return [...lines.slice(0, most - 1), { ...last, text: `${last.text.slice(0, -1)}…` }];
}

function tableBody(state: State, height: number): Line[] {
  const rows = rowsOf(state);
  const { width } = state.size;
  const table = layout(rows, opNames(state), width, state.order);
  const head: Line[] = height > 1 ? [{ text: table.head, tone: "dim" }] : [];
  if (rows.length === 0) {
    const empty = folded({ text: `  ${emptyLine(state)}`, tone: "plain", hang: 2 }, width);
    return [...head, ...limited(empty, height - head.length)];
  }
  const selected = selectedIndex(state);
  const [first, end] = visiblePart(rows.length, selected, height - head.length);
  const lines = rows.slice(first, end).map((row, i): Line => {
    const chosen = first + i === selected;
    return { text: table.row(row, chosen), tone: chosen ? "selected" : "plain" };
  });
  return [...head, ...lines];
}

function wrapped(state: State): Line[] {
  return overlayLines(state.mode).flatMap((line) => folded(line, state.size.width));
}

function overlayBody(state: State, height: number): Line[] {
  const lines = wrapped(state);
  if (lines.length < height) return [{ text: "", tone: "plain" }, ...lines];
  const top = Math.min(firstShown(state, lines, height), lines.length - height);
  const below = lines.length - top - height;
  if (below === 0 || height < 3) return lines.slice(top, top + height);
  const more: Line = { text: `  ... ${below + 1} more lines`.slice(0, state.size.width), tone: "dim" };
  return [...lines.slice(top, top + height - 1), more];
}

/** Where the text starts: where it was scrolled to, or so that the chosen line is in the middle. */
function firstShown({ mode, top }: State, lines: readonly Line[], height: number): number {
  if (mode.kind !== "impls" || !mode.choosing) return top;
  const chosen = lines.findIndex(({ text }) => text.startsWith(">"));
  return Math.max(0, chosen - Math.floor(height / 2));
}
