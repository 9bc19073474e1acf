/** What `opswap doctor` finds where no engine runs: the parts of this installation. */
import { connectLocal } from "../client/index.js";
import type { Check, DoctorResult } from "../generated/messages.js";
import { pythonEnvironment } from "../python-environment.js";
import type { OpswapError } from "../types/errors.js";
import { asRefusal } from "../types/refusal.js";
import { installedEngines, versionChecks } from "./doctor-versions.js";

/** Not healthy: nothing answers with opswap's ops. The library and Python are looked at, since an engine needs them. */
export async function alone(error: OpswapError, others: readonly Check[]): Promise<DoctorResult> {
  const told = refused("engine", "fail", error);
  const isThere = error.code !== "OPSWAP_E_NOT_RUNNING";
  const engine: Check = isThere
    ? told
    : { ...told, remedy: "start the engine with opswap in it; docs/engines says how" };
  return { healthy: false, checks: [engine, ...others, ...(await library()), ...python()] };
}

function refused(name: string, state: Check["state"], thrown: unknown): Check {
  const { code, message, remedy } = asRefusal(thrown);
  return { name, state, message: `${message} [${code}]`, remedy };
}

async function library(): Promise<Check[]> {
  try {
    const client = await connectLocal();
    return (await client.doctor()).checks;
  } catch (error) {
    return [refused("library", "fail", error)];
  }
}

/** Most verbs go without. What it has of engines is asked where it is there. */
function python(): Check[] {
  const needs = "sidecars, tokenizers out of GGUF files and perplexity need a Python";
  try {
    const found = pythonEnvironment().python;
    return [{ name: "python", state: "ok", message: found, remedy: "" }, ...engines(found)];
  } catch (error) {
    const told = refused("python", "warn", error);
    return [{ ...told, message: `${needs}: ${told.message}` }];
  }
}

function engines(python: string): Check[] {
  try {
    return versionChecks(installedEngines(python));
  } catch (error) {
    const message = `${python} does not tell what engines it has: ${(error as Error).message}`;
    return [{ name: "engines", state: "warn", message, remedy: "set OPSWAP_PYTHON to the engine's Python" }];
  }
}
