import { spawn } from "node:child_process";
import { Command } from "commander";
import { pythonEnvironment } from "../python-environment.js";
import { type Context, EXIT, examples } from "./context.js";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

interface Options {
  name: string;
}

export function sidecarCommand(context: Context): Command {
  return new Command("sidecar")
    .description("run the sidecar, a process that runs ops on request, until it is interrupted")
    .option("-n, --name <name>", "its name; `opswap call` looks for sidecar", "sidecar")
    .addHelpText("after", examples("sidecar", "sidecar &"))
    .action(async ({ name }: Options) => {
      const { python, env } = pythonEnvironment();
      const child = spawn(python, ["-m", "opswap.ipc.sidecar", "--name", name], { env, stdio: "inherit" });
      // A terminal's interrupt reaches the child by itself; this process only waits for it to end.
      const pass = (signal: NodeJS.Signals) => child.kill(signal);
      for (const signal of SIGNALS) process.on(signal, pass);
      const code = await new Promise<number | null>((done, fail) => {
        child.once("error", fail);
        child.once("exit", done);
      });
      for (const signal of SIGNALS) process.removeListener(signal, pass);
      context.exitCode = code === 0 ? EXIT.ok : EXIT.failed;
    });
}
