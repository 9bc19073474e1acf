/** `opswap console`. */
import { Command } from "commander";
import { connectEngine, connectLocal } from "../client/index.js";
import { type Context, EXIT, examples, localOption } from "./context.js";
import { usageError } from "./usage.js";

interface Options {
  engine?: string;
  local?: boolean;
  interval: string;
}

export function consoleCommand(context: Context): Command {
  return new Command("console")
    .description("watch the ops of an engine live, and switch them")
    .option("-e, --engine <name>", "the engine to watch; needed when several are running")
    .addOption(localOption("an engine", "engine"))
    .option("--interval <ms>", "how often to look", "1000")
    .addHelpText("after", examples("console", "console --engine smollm2"))
    .action(async (options: Options) => {
      const interval = checkedInterval(options.interval);
      if (!process.stdin.isTTY || !process.stdout.isTTY) {
        const message = "console needs a terminal for input and output";
        throw usageError(message, "use `opswap ops --json` in scripts");
      }
      // A terminal means a person. In CI ink draws nothing until the end, and chalk takes any CI, even "false", for one
      // without colours; both look when they are loaded.
      delete process.env.CI;
      delete process.env.CONTINUOUS_INTEGRATION;
      // Loaded here only: no other verb needs React.
      const { runConsole } = await import("../console/index.js");
      const connect = () => (options.local ? connectLocal() : connectEngine({ name: options.engine }));
      await runConsole(connect, interval);
      context.exitCode = EXIT.ok;
    });
}

function checkedInterval(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 100 && value <= 60_000) return value;
  throw usageError(`--interval needs 100 to 60000 milliseconds; got ${text}`);
}
