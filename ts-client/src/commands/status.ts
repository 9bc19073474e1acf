/** `opswap status`. */
import { Command } from "commander";
import { discover } from "../client/index.js";
import { standingOf } from "../client/standing.js";
import { withTarget } from "../client/target.js";
import { OpswapError } from "../types/errors.js";
import { standingLines, statusLines } from "../view/status-lines.js";
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
      const all = await Promise.all(discover().map(standingOf));
      if (all.length === 0)
        throw new OpswapError("OPSWAP_E_NOT_RUNNING", "no engine and no sidecar is running");
      show(context.io, options.json, all, (list) => list.flatMap(standingLines));
    }
    context.exitCode = EXIT.ok;
  });
}
