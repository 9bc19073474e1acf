/** The console as an ink component: keys in, screen out, answers of the feed between them. */
import { useApp, useInput, useStdout } from "ink";
import { type Dispatch, type ReactNode, useCallback, useEffect, useReducer, useRef, useState } from "react";
import type { Feed } from "../feed/feed.js";
import type { KeyCommand } from "./bindings.js";
import { failureOf } from "./failure.js";
import { commandFor, keysOf } from "./keys.js";
import { type Action, INITIAL, reduce, type Size, type State } from "./state.js";
import { askBack, switchBackTo, switchOp } from "./switch-op.js";
import { View } from "./view.js";

interface AppProps {
  feed: Feed;
  colour: boolean;
}

export function App({ feed, colour }: AppProps): ReactNode {
  const { stdout } = useStdout();
  const { latest, dispatch } = useStore(stdout);
  const { exit } = useApp();
  const now = useClock();
  useSize(stdout, dispatch);
  useFeed(feed, dispatch);
  useInput((input, key) => {
    for (const one of keysOf(input, key)) {
      const command = commandFor(latest(), one);
      if (command.type === "quit") exit();
      else void execute(command, feed, dispatch);
    }
  });
  return <View state={latest()} now={now} colour={colour} />;
}

/** State that a key finds changed by the key before it, even when both come before the screen is drawn again. */
function useStore(stdout: NodeJS.WriteStream): { latest: () => State; dispatch: Dispatch<Action> } {
  // Of its size from the first: what is taller than the terminal makes ink clear it.
  const state = useRef({ ...INITIAL, size: sizeOf(stdout) });
  const [, redraw] = useReducer((drawn: number) => drawn + 1, 0);
  const latest = useCallback(() => state.current, []);
  const dispatch = useCallback((action: Action) => {
    state.current = reduce(state.current, action);
    redraw();
  }, []);
  return { latest, dispatch };
}

/** Does what a key asked for; what goes wrong is shown. */
async function execute(command: KeyCommand, feed: Feed, dispatch: Dispatch<Action>): Promise<void> {
  if (command.type === "show") dispatch(command.action);
  if (command.type === "why") await askWhy(command.op, command.choosing, feed, dispatch);
  if (command.type === "switch") await switchOp(command.op, command.impl, feed, dispatch);
  if (command.type === "last") await askBack(feed, dispatch);
  if (command.type === "revert") await switchBackTo(command.back, feed, dispatch);
}

async function askWhy(op: string, choosing: boolean, feed: Feed, dispatch: Dispatch<Action>) {
  dispatch({ type: "mode", mode: { kind: "impls", op, choosing, why: null, index: 0 } });
  try {
    dispatch({ type: "why", why: await (await feed.client()).why(op) });
  } catch (error) {
    const mode = { kind: "failed", title: `${op}: no answer`, failure: failureOf(error) } as const;
    dispatch({ type: "mode", mode });
  }
}

function useFeed(feed: Feed, dispatch: Dispatch<Action>): void {
  useEffect(
    () =>
      feed.subscribe((event) =>
        dispatch(event.type === "seen" ? event : { type: "lost", failure: failureOf(event.error) }),
      ),
    [feed, dispatch],
  );
}

/** A second hand, so that "last seen" goes on while nothing comes. */
function useClock(): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

function useSize(stdout: NodeJS.WriteStream, dispatch: Dispatch<Action>): void {
  useEffect(() => {
    const measure = () => dispatch({ type: "size", size: sizeOf(stdout) });
    stdout.on("resize", measure);
    return () => {
      stdout.off("resize", measure);
    };
  }, [stdout, dispatch]);
}

function sizeOf(stdout: NodeJS.WriteStream): Size {
  return { width: stdout.columns || 80, height: stdout.rows || 24 };
}
