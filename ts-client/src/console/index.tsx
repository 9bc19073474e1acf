import { render } from "ink";
import { App } from "./app.js";
import { type Connect, Session } from "./session.js";

const ENTER_ALTERNATE_SCREEN = "\x1b[?1049h\x1b[H";
const LEAVE_ALTERNATE_SCREEN = "\x1b[?1049l";

/** Runs the console until it is left; the terminal is given back as it was, whatever happens. */
export async function runConsole(connect: Connect, intervalMs: number): Promise<void> {
  const session = new Session(connect);
  const colour = !process.env.NO_COLOR;
  const restore = () => process.stdout.write(LEAVE_ALTERNATE_SCREEN);
  process.stdout.write(ENTER_ALTERNATE_SCREEN);
  process.once("exit", restore);
  try {
    const screen = render(<App session={session} intervalMs={intervalMs} colour={colour} />);
    await screen.waitUntilExit();
  } finally {
    await session.close();
    process.removeListener("exit", restore);
    restore();
  }
}
