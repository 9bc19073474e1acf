/** Runs the console on the terminal. */
import { render } from "ink";
import { type Connect, Feed } from "../feed/feed.js";
import { App } from "./app.js";

const ENTER_ALTERNATE_SCREEN = "\x1b[?1049h\x1b[H";
const LEAVE_ALTERNATE_SCREEN = "\x1b[?1049l";

/** Runs the console until it is left; the terminal is given back as it was, whatever happens. */
export async function runConsole(connect: Connect, intervalMs: number): Promise<void> {
  const feed = new Feed(connect, intervalMs);
  const colour = !process.env.NO_COLOR;
  const restore = () => process.stdout.write(LEAVE_ALTERNATE_SCREEN);
  process.stdout.write(ENTER_ALTERNATE_SCREEN);
  process.once("exit", restore);
  try {
    const screen = render(<App feed={feed} colour={colour} />);
    await screen.waitUntilExit();
  } finally {
    await feed.close();
    process.removeListener("exit", restore);
    restore();
  }
}
