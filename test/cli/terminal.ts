/** A pseudo-terminal for tests of the console. */
import { type IPty, spawn } from "@lydell/node-pty";
import xterm from "@xterm/headless";
import { vi } from "vitest";
import { cli } from "./harness.js";

/** A program in a real pseudo-terminal, with its screen as a person would see it. */
export class Terminal {
  readonly #pty: IPty;
  readonly #screen: xterm.Terminal;
  /** Everything that the program wrote, control sequences included. */
  raw = "";
  exitCode: number | undefined;

  constructor(args: readonly string[], env: NodeJS.ProcessEnv, cols = 80, rows = 24) {
    this.#screen = new xterm.Terminal({ cols, rows, allowProposedApi: true });
    this.#pty = spawn(process.execPath, [cli, ...args], {
      cols,
      rows,
      name: "xterm-256color",
      env: defined({ ...process.env, ...env }),
    });
    this.#pty.onData((data) => {
      this.raw += data;
      this.#screen.write(data);
    });
    this.#pty.onExit(({ exitCode }) => {
      this.exitCode = exitCode;
    });
  }

  /** The lines of the screen. */
  get lines(): string[] {
    const buffer = this.#screen.buffer.active;
    return Array.from(
      { length: this.#screen.rows },
      (_, i) => buffer.getLine(buffer.viewportY + i)?.translateToString(true) ?? "",
    );
  }

  /** The words on the screen that are drawn in colour, bold, dim or inverse. */
  get styled(): string[] {
    const { buffer, rows, cols } = this.#screen;
    const cells = Array.from({ length: rows * cols }, (_, i) =>
      buffer.active.getLine(buffer.active.viewportY + Math.floor(i / cols))?.getCell(i % cols),
    );
    const marked = cells.map((cell) => (cell && !cell.isAttributeDefault() ? cell.getChars() || " " : " "));
    return marked.join("").split(/\s+/).filter(Boolean);
  }

  resize(cols: number, rows: number): void {
    this.#screen.resize(cols, rows);
    this.#pty.resize(cols, rows);
  }

  press(keys: string): void {
    this.#pty.write(keys);
  }

  /** Waits until the screen shows `text`; the screen is in the error when it never does. */
  async shows(text: RegExp, timeout = 60_000): Promise<void> {
    await vi.waitFor(
      () => {
        if (!text.test(this.lines.join("\n")))
          throw new Error(`no ${text} on the screen:\n${this.lines.join("\n")}`);
      },
      { timeout, interval: 50 },
    );
  }

  async exited(): Promise<number> {
    return vi.waitFor(
      () => {
        if (this.exitCode === undefined) throw new Error("still running");
        return this.exitCode;
      },
      { timeout: 60_000 },
    );
  }

  close(): void {
    if (this.exitCode === undefined) this.#pty.kill();
  }
}

/** Without variables that are undefined, which node-pty would pass on as that word. */
function defined(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}
