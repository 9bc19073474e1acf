/** Which Python this checkout uses, and with which environment variables a child of it is started. */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import * as z from "zod/mini";
import { OpswapError } from "./types/errors.js";

const here = path.dirname(fileURLToPath(import.meta.url));
/** The checkout, seen from dist/ or from ts-client/src/. */
const root = existsSync(path.join(here, "..", "package.json"))
  ? path.join(here, "..")
  : path.join(here, "..", "..");
/** Written by the set-up: where the Python environments of this checkout are. */
const RECORD = path.join(root, "build", "environments.json");
const record = z.object({ tools: z.optional(z.string()), engine: z.optional(z.string()) });

export interface PythonEnvironment {
  python: string;
  env: NodeJS.ProcessEnv;
}

/** The Python that hosts opswap: OPSWAP_PYTHON when set, else the engine's environment, else the tools'. */
export function pythonEnvironment(): PythonEnvironment {
  const python = process.env.OPSWAP_PYTHON || recorded();
  if (python === undefined || !existsSync(python)) {
    const found = python === undefined ? `${RECORD} is not there` : `${python} does not exist`;
    throw new OpswapError("OPSWAP_E_PYTHON", `no Python environment: ${found}`, {
      remedy: process.env.OPSWAP_PYTHON
        ? "set OPSWAP_PYTHON to a Python that can import opswap, or unset it"
        : "run `npm run build`, or set OPSWAP_PYTHON to a Python that can import opswap",
    });
  }
  const inherited = process.env.PYTHONPATH?.split(path.delimiter) ?? [];
  const PYTHONPATH = [path.join(root, "build", "python"), ...inherited].join(path.delimiter);
  return { python, env: { ...process.env, PYTHONPATH } };
}

/** A record that was cut or edited is as good as none. */
function readRecord(): z.infer<typeof record> {
  try {
    return record.parse(JSON.parse(readFileSync(RECORD, "utf8")));
  } catch (cause) {
    throw new OpswapError("OPSWAP_E_PYTHON", `${RECORD} cannot be read`, { cause });
  }
}

/** For a child that ends with this process, as opswap.lifeline sees to: it is told whose child it is. */
export function childOf(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { ...env, OPSWAP_PARENT: String(process.pid) };
}

function recorded(): string | undefined {
  if (!existsSync(RECORD)) return undefined;
  const { engine, tools } = readRecord();
  const folder = engine ?? tools;
  return folder === undefined ? undefined : path.join(folder, "bin", "python");
}
