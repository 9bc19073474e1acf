/** `opswap status`. */
import { Command } from "commander";
import { discover, runtimeDirs } from "../client/index.js";
import { standingOf } from "../client/standing.js";
import { withTarget } from "../client/target.js";
import { OpswapError } from "../types/errors.js";
import { foundLines, statusLines } from "../view/status-lines.js";
import {
  type Context,
  EXIT,
  examples,
  show,
  sidecarOption,
  type TargetOptions,
  targetOptions,
} from "./context.js";

export function statusCommand(context: Context): Command {
  const command = new Command("status")
    .description("show what is running: engines, the sidecar, their ranks and switches")
    .addHelpText("after", examples("status", "status --engine smollm2 --json"));
  return sidecarOption(targetOptions(command)).action(async (options: TargetOptions) => {
    if (options.local || options.sidecar !== undefined || options.engine !== undefined) {
      const result = await withTarget(options, (client) => client.status());
      show(context.io, options.json, result, statusLines);
    } else {
      const folders = runtimeDirs();
      const all = await Promise.all(discover(folders).map(standingOf));
      if (all.length === 0) throw nobody(folders);
      show(context.io, options.json, all, (list) => foundLines(list, folders));
    }
    context.exitCode = EXIT.ok;
  });
}

function nobody(folders: readonly string[]): OpswapError {
  const message = `no engine and no sidecar is running (looked in ${folders.join(", ")})`;
  return new OpswapError("OPSWAP_E_NOT_RUNNING", message);
}
