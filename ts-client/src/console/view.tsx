import { Box, Text } from "ink";
import type { ReactNode } from "react";
import {
  emptyLine,
  headLine,
  healthLine,
  hintLine,
  type Line,
  overlayLines,
  rowLine,
  type Tone,
  titleLine,
} from "./lines.js";
import { rowKey, visiblePart } from "./rows.js";
import { rowsOf, type State, selectedIndex } from "./state.js";

const COLOURS: Record<Tone, string | undefined> = {
  plain: undefined,
  good: "green",
  warn: "yellow",
  bad: "red",
  dim: undefined,
};
/** Title, health, head of the table, a blank line and the hint. */
const FRAME_LINES = 5;

interface ViewProps {
  state: State;
  width: number;
  height: number;
  now: number;
  colour: boolean;
}

/** The whole screen, a function of the state. */
export function View({ state, width, height, now, colour }: ViewProps): ReactNode {
  const body = Math.max(3, height - FRAME_LINES);
  return (
    <Box flexDirection="column" width={width}>
      <Text bold={colour} wrap="truncate">
        {titleLine(state)}
      </Text>
      <Toned line={healthLine(state, now)} colour={colour} />
      {state.mode.kind === "table" || state.mode.kind === "filter" ? (
        <Table state={state} width={width} height={body} colour={colour} />
      ) : (
        <Overlay lines={overlayLines(state.mode)} height={body} colour={colour} />
      )}
      <Text dimColor={colour} wrap="truncate">
        {hintLine(state)}
      </Text>
    </Box>
  );
}

function Toned({ line, colour }: { line: Line; colour: boolean }): ReactNode {
  const shade = colour ? COLOURS[line.tone] : undefined;
  return (
    <Text {...(shade ? { color: shade } : {})} dimColor={colour && line.tone === "dim"} wrap="truncate">
      {line.text || " "}
    </Text>
  );
}

interface TableProps {
  state: State;
  width: number;
  height: number;
  colour: boolean;
}

function Table({ state, width, height, colour }: TableProps): ReactNode {
  const rows = rowsOf(state);
  const selected = selectedIndex(state);
  const [first, end] = visiblePart(rows.length, selected, height);
  return (
    <Box flexDirection="column" height={height + 2}>
      <Text dimColor={colour} wrap="truncate">
        {headLine(width, state.order)}
      </Text>
      {rows.length === 0 ? <Text>{`  ${emptyLine(state)}`}</Text> : null}
      {rows.slice(first, end).map((row, i) => (
        <Text key={rowKey(row)} inverse={colour && first + i === selected} wrap="truncate">
          {rowLine(row, width, first + i === selected)}
        </Text>
      ))}
    </Box>
  );
}

function Overlay({ lines, height, colour }: { lines: Line[]; height: number; colour: boolean }): ReactNode {
  const shown = lines.slice(0, height);
  return (
    <Box flexDirection="column" height={height + 2} paddingTop={1}>
      {shown.map((line, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the lines of a text have no other identity
        <Toned key={i} line={line} colour={colour} />
      ))}
    </Box>
  );
}
