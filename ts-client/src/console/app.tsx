import { useApp, useInput, useStdout } from "ink";
import { type Dispatch, type ReactNode, useCallback, useEffect, useReducer, useRef, useState } from "react";
import { keysOf, type Wish, wishOf } from "./keys.js";
import { failureOf, type Session } from "./session.js";
import { type Action, INITIAL, reduce, type Size, type State } from "./state.js";
import { View } from "./view.js";

interface AppProps {
  session: Session;
  intervalMs: number;
  colour: boolean;
}

export function App({ session, intervalMs, colour }: AppProps): ReactNode {
  const { stdout } = useStdout();
  const { latest, dispatch } = useStore(stdout);
  const { exit } = useApp();
  const now = useClock();
  useSize(stdout, dispatch);
  useLooks(session, intervalMs, dispatch);
  useInput((input, key) => {
    for (const one of keysOf(input, key)) {
      const wish = wishOf(latest(), one);
      if (wish.type === "quit") exit();
      else void grant(wish, session, dispatch);
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
async function grant(wish: Wish, session: Session, dispatch: Dispatch<Action>): Promise<void> {
  if (wish.type === "show") dispatch(wish.action);
  if (wish.type === "why") await askWhy(wish.op, wish.choosing, session, dispatch);
  if (wish.type === "switch") await switchOp(wish.op, wish.impl, session, dispatch);
}

async function askWhy(op: string, choosing: boolean, session: Session, dispatch: Dispatch<Action>) {
  dispatch({ type: "mode", mode: { kind: "impls", op, choosing, why: null, index: 0 } });
  try {
    dispatch({ type: "why", why: await (await session.client()).why(op) });
  } catch (error) {
    const mode = { kind: "failed", title: `${op}: no answer`, failure: failureOf(error) } as const;
    dispatch({ type: "mode", mode });
  }
}

async function switchOp(op: string, impl: string, session: Session, dispatch: Dispatch<Action>) {
  dispatch({ type: "mode", mode: { kind: "switching", op, impl } });
  try {
    const result = await (await session.client()).use([{ op, impl }]);
    dispatch({ type: "mode", mode: { kind: "switched", result } });
  } catch (error) {
    const mode = { kind: "failed", title: `${op} was not switched`, failure: failureOf(error) } as const;
    dispatch({ type: "mode", mode });
  }
}

/** Looks, waits, looks again: a slow engine is never asked twice at a time. */
function useLooks(session: Session, intervalMs: number, dispatch: Dispatch<Action>): void {
  useEffect(() => {
    let timer: NodeJS.Timeout | undefined;
    let ended = false;
    const look = async () => {
      const action = await session.look();
      if (ended) return;
      dispatch(action);
      timer = setTimeout(look, intervalMs);
    };
    void look();
    return () => {
      ended = true;
      clearTimeout(timer);
    };
  }, [session, intervalMs, dispatch]);
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
