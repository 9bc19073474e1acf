/** `opswap sidecar`. */
import { type ChildProcess, spawn } from "node:child_process";
import { Command } from "commander";
import { pythonEnvironment } from "../python-environment.js";
import { OpswapError } from "../types/errors.js";
import { errnoName } from "../types/system-error.js";
import { type Context, EXIT, type ExitCode, examples } from "./context.js";
import { countOption } from "./count-option.js";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

interface Options {
  name: string;
  threads?: number;
  variants?: string[];
}

const HELP = `
Several sidecars run beside each other under names of their own: \`opswap call OP --sidecar NAME\` picks one. It ends with
this command, however that ends.
`;

/** A Python that lacks something is told in a line, where a module that is run would leave a traceback. */
const START = `import sys
try:
    from opswap.ipc.sidecar import main
except ImportError as error:
    sys.stderr.write(f"opswap: {sys.executable} cannot run a sidecar: {error} [OPSWAP_E_PYTHON]\\n")
    sys.stderr.write("  set OPSWAP_PYTHON to a Python that can import opswap, zmq and msgpack, or unset it\\n")
    sys.exit(3)
sys.exit(main())`;

export function sidecarCommand(context: Context): Command {
  return new Command("sidecar")
    .description("run a sidecar, a process that runs ops on request, until it is interrupted")
    .option("-n, --name <name>", "its name; `opswap call` looks for sidecar", "sidecar")
    .option("--threads <n>", "requests run at a time, 1 to 64; 4 when left out", countOption)
    .option("--variants <names...>", "frameworks whose own kernels it offers as well, such as vllm")
    .addHelpText("after", HELP)
    .addHelpText(
      "after",
      examples("sidecar", "sidecar &", "sidecar --name second --threads 1 --variants vllm"),
    )
    .action(async (options: Options) => {
      context.exitCode = await run(options);
    });
}

async function run(options: Options): Promise<ExitCode> {
  const { python, env } = pythonEnvironment();
  // The other end of its input is this process alone: the end of one is the end of both.
  const child = spawn(python, ["-c", START, ...words(options)], {
    env,
    stdio: ["pipe", "inherit", "inherit"],
  });
  // A terminal's interrupt reaches the child by itself; this process only waits for it to end.
  const pass = (signal: NodeJS.Signals) => child.kill(signal);
  for (const signal of SIGNALS) process.on(signal, pass);
  try {
    const code = await ended(child, python);
    return Object.values(EXIT).find((known) => known === code) ?? EXIT.failed;
  } finally {
    for (const signal of SIGNALS) process.removeListener(signal, pass);
  }
}

function words({ name, threads, variants }: Options): string[] {
  const chosen = ["--until-eof", `--name=${name}`];
  if (threads !== undefined) chosen.push(`--threads=${threads}`);
  return variants === undefined ? chosen : [...chosen, "--variants", ...variants];
}

function ended(child: ChildProcess, python: string): Promise<number | null> {
  return new Promise((done, fail) => {
    child.once("error", ({ errno }: NodeJS.ErrnoException) => {
      const message = `${python} cannot be started: ${errnoName(Math.abs(errno ?? 0))}`;
      fail(
        new OpswapError("OPSWAP_E_PYTHON", message, { remedy: "set OPSWAP_PYTHON to a Python, or unset it" }),
      );
    });
    child.once("exit", done);
  });
}
