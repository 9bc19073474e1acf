/** `opswap doctor --trtllm PATH`: an installed tree of an engine that is compared as text, without running it. */
import { existsSync } from "node:fs";
import path from "node:path";
import { OpswapError } from "../types/errors.js";
import type { Context } from "./context.js";
import { runPythonModule } from "./python-module.js";

/** The module that compares, by the option's name. */
const MODULES = { trtllm: "opswap.adapters.trtllm.doctor" } as const;

export interface TreeOptions {
  trtllm?: string;
  table?: string;
  json?: boolean;
}

/** Runs the comparison where an option asks for one; says whether it did. */
export async function comparedTree(context: Context, options: TreeOptions): Promise<boolean> {
  const folder = options.trtllm;
  if (folder === undefined) {
    if (options.table !== undefined)
      throw usage("--table says what a tree is compared with", "give --trtllm PATH too");
    return false;
  }
  if (!existsSync(folder))
    throw usage(`--trtllm ${folder}: there is no such folder`, "give TensorRT-LLM's folder");
  const words = [path.resolve(folder), ...(options.json ? ["--json"] : [])];
  if (options.table !== undefined) words.push("--table", options.table);
  context.exitCode = await runPythonModule(MODULES.trtllm, words);
  return true;
}

function usage(message: string, remedy: string): OpswapError {
  return new OpswapError("OPSWAP_E_USAGE", message, { remedy });
}
