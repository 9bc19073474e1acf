/** Draws the lines of the screen. */
import { Box, Text } from "ink";
import type { ReactNode } from "react";
import type { Line, Tone } from "./lines.js";
import { screenLines } from "./screen.js";
import type { State } from "./state.js";

const STYLES: Record<Tone, { color?: string; bold?: boolean; dimColor?: boolean; inverse?: boolean }> = {
  plain: {},
  good: { color: "green" },
  warn: { color: "yellow" },
  bad: { color: "red" },
  dim: { dimColor: true },
  title: { bold: true },
  selected: { inverse: true },
};

interface ViewProps {
  state: State;
  now: number;
  colour: boolean;
}

/** The whole screen, a function of the state. */
export function View({ state, now, colour }: ViewProps): ReactNode {
  return (
    <Box flexDirection="column" width={state.size.width}>
      {screenLines(state, now).map((line, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the lines of a screen have no other identity
        <Toned key={i} line={line} colour={colour} />
      ))}
    </Box>
  );
}

function Toned({ line, colour }: { line: Line; colour: boolean }): ReactNode {
  return (
    <Text {...(colour ? STYLES[line.tone] : {})} wrap="truncate">
      {line.text || " "}
    </Text>
  );
}
