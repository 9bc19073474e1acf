/** What all verbs of `opswap evidence` share: two options, and the Python module that does the work. */
import { type Command, Option } from "commander";
import type { Context } from "../context.js";
import { runPythonModule } from "../python-module.js";

export interface Shared {
  library?: string;
  json?: boolean;
}

export function sharedOptions(command: Command): Command {
  return command
    .addOption(new Option("--library <file>", "this libopswap.so instead of the installed one"))
    .option("--json", "print JSON");
}

/** Starts `python -m opswap.evidence` with these words and exits as it does. */
export async function passOn(context: Context, words: readonly string[], options: Shared): Promise<void> {
  const shared = [
    ...(options.library === undefined ? [] : [`--library=${options.library}`]),
    ...(options.json ? ["--json"] : []),
  ];
  context.exitCode = await runPythonModule("opswap.evidence", [...words, ...shared]);
}
