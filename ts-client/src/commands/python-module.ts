/** Runs a module of the Python package opswap: with this process's terminal, or for what it prints. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { pythonEnvironment } from "../python-environment.js";
import { OpswapError } from "../types/errors.js";
import { EXIT, type ExitCode } from "./context.js";

/** One that lacks the package is told in a line, where Python would leave a traceback. */
const START = `import sys
try:
    import runpy, importlib
    if not hasattr(importlib.import_module(sys.argv[1]), "__path__"):
        del sys.modules[sys.argv[1]]  # runpy warns of a module that is there before it runs
except ImportError as error:
    sys.stderr.write(f"opswap: {sys.executable} cannot run {sys.argv[1]}: {error} [OPSWAP_E_PYTHON]\\n")
    sys.stderr.write("  set OPSWAP_PYTHON to a Python that has opswap's wheel, or unset it\\n")
    sys.exit(3)
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)`;

export async function runPythonModule(name: string, words: readonly string[]): Promise<ExitCode> {
  return ended(started(name, words, "inherit"));
}

/** The same, and `take` gets each line that it prints. */
export async function readPythonModule(
  name: string,
  words: readonly string[],
  take: (line: string) => void,
): Promise<ExitCode> {
  const run = started(name, words, "pipe");
  if (run.child.stdout) createInterface(run.child.stdout).on("line", take);
  return ended(run);
}

interface Started {
  python: string;
  child: ChildProcess;
}

function started(name: string, words: readonly string[], stdout: "inherit" | "pipe"): Started {
  const { python, env } = pythonEnvironment();
  const stdio = ["inherit", stdout, "inherit"] as const;
  return { python, child: spawn(python, ["-c", START, name, ...words], { env, stdio: [...stdio] }) };
}

/** Once all that it printed was read. */
async function ended({ python, child }: Started): Promise<ExitCode> {
  const code = await new Promise<number | null>((done, fail) => {
    child.once("error", ({ message }) => {
      const remedy = "set OPSWAP_PYTHON to a Python, or unset it";
      fail(new OpswapError("OPSWAP_E_PYTHON", `${python} cannot be started: ${message}`, { remedy }));
    });
    child.once("close", done);
  });
  return Object.values(EXIT).find((known) => known === code) ?? EXIT.failed;
}
