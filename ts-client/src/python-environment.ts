/** Which Python hosts opswap, and with which environment variables a child of it is started. */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import * as z from "zod/mini";
import { inCheckout, ROOT } from "./installation.js";
import { OpswapError } from "./types/errors.js";

/** Written by the set-up: where the Python environments of this checkout are. */
const RECORD = path.join(ROOT, "build", "environments.json");
const record = z.object({ tools: z.optional(z.string()), engine: z.optional(z.string()) });

export interface PythonEnvironment {
  python: string;
  env: NodeJS.ProcessEnv;
}

/** The Python that hosts opswap: OPSWAP_PYTHON when set; else, in a checkout, the engine's environment or the tools'. */
export function pythonEnvironment(): PythonEnvironment {
  const python = process.env.OPSWAP_PYTHON || recorded();
  if (python === undefined || !existsSync(python)) throw noPython(python);
  if (!inCheckout()) return { python, env: process.env };
  const inherited = process.env.PYTHONPATH?.split(path.delimiter) ?? [];
  const PYTHONPATH = [path.join(ROOT, "build", "python"), ...inherited].join(path.delimiter);
  return { python, env: { ...process.env, PYTHONPATH } };
}

function noPython(python: string | undefined): OpswapError {
  const unset = inCheckout() ? `${RECORD} is not there` : "OPSWAP_PYTHON is not set";
  const found = python === undefined ? unset : `${python} does not exist`;
  const set = `set OPSWAP_PYTHON to a Python that ${inCheckout() ? "can import opswap" : "has opswap's wheel"}`;
  const build = inCheckout() ? "run `npm run build`, or " : "";
  return new OpswapError("OPSWAP_E_PYTHON", `no Python environment: ${found}`, {
    remedy: process.env.OPSWAP_PYTHON ? `${set}, or unset it` : build + set,
  });
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
