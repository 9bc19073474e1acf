/** `opswap manifest`. */
import { Command } from "commander";
import { declared } from "../client/index.js";
import { withTarget } from "../client/target.js";
import { declarationLines, manifestLines } from "../view/manifest-lines.js";
import {
  type Context,
  EXIT,
  examples,
  show,
  sidecarOption,
  type TargetOptions,
  targetOptions,
} from "./context.js";

export function manifestCommand(context: Context): Command {
  const command = new Command("manifest")
    .description("print what the library declares: its ops, or one op with its arguments")
    .argument("[op]", "one op")
    .addHelpText("after", examples("manifest", "manifest rotary_embedding --local", "manifest --json"));
  return sidecarOption(targetOptions(command)).action(
    async (op: string | undefined, options: TargetOptions) => {
      const manifest = await withTarget(options, (client) => client.manifest());
      if (op === undefined) show(context.io, options.json, manifest, manifestLines);
      else show(context.io, options.json, declared(manifest, op), declarationLines);
      context.exitCode = EXIT.ok;
    },
  );
}
