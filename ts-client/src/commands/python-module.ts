/** Runs a module of the Python package opswap, with this process's terminal, and gives its exit code. */
import { spawn } from "node:child_process";
import { pythonEnvironment } from "../python-environment.js";
import { OpswapError } from "../types/errors.js";
import { EXIT, type ExitCode } from "./context.js";

/** One that lacks the package is told in a line, where Python would leave a traceback. */
const START = `import sys
try:
    import runpy, importlib
    importlib.import_module(sys.argv[1])
except ImportError as error:
    sys.stderr.write(f"opswap: {sys.executable} cannot run {sys.argv[1]}: {error} [OPSWAP_E_PYTHON]\\n")
    sys.stderr.write("  set OPSWAP_PYTHON to a Python that has opswap's wheel, or unset it\\n")
    sys.exit(3)
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)`;

export async function runPythonModule(name: string, words: readonly string[]): Promise<ExitCode> {
  const { python, env } = pythonEnvironment();
  const child = spawn(python, ["-c", START, name, ...words], { env, stdio: "inherit" });
  const code = await new Promise<number | null>((done, fail) => {
    child.once("error", ({ message }) => {
      const remedy = "set OPSWAP_PYTHON to a Python, or unset it";
      fail(new OpswapError("OPSWAP_E_PYTHON", `${python} cannot be started: ${message}`, { remedy }));
    });
    child.once("exit", done);
  });
  return Object.values(EXIT).find((known) => known === code) ?? EXIT.failed;
}
