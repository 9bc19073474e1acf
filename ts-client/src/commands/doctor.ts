/** `opswap doctor`. */
import { Command } from "commander";
import { discover } from "../client/index.js";
import { withTarget } from "../client/target.js";
import type { Check, DoctorResult } from "../generated/messages.js";
import { OpswapError } from "../types/errors.js";
import { doctorLines } from "../view/doctor-lines.js";
import { type Context, EXIT, examples, show, type TargetOptions, targetOptions } from "./context.js";
import { alone } from "./doctor-alone.js";
import { pluginChecks, vllmProcesses } from "./doctor-plugins.js";
import { comparedTree, type TreeOptions } from "./doctor-tree.js";

/** What an engine gives no account of itself by: it is not there, it starts, or it hangs. */
const NO_ACCOUNT = new Set(["OPSWAP_E_NOT_RUNNING", "OPSWAP_E_STARTING", "OPSWAP_E_TIMEOUT"]);

export function doctorCommand(context: Context): Command {
  const command = new Command("doctor")
    .description(
      "check that the engine really runs opswap's ops, and that its ranks agree; exits 1 when not, or when none runs",
    )
    .option("--trtllm <path>", "instead: compare an installed TensorRT-LLM with what the adapter relies on")
    .option("--table <name>", "with --trtllm: the table to compare with, 1.2 or main, whatever the version")
    .addHelpText(
      "after",
      examples("doctor", "doctor --json", "doctor --trtllm /usr/lib/python3/dist-packages"),
    );
  return targetOptions(command).action(async (options: TargetOptions & TreeOptions) => {
    if (await comparedTree(context, options)) return;
    const result = await examined(options);
    show(context.io, options.json, result, doctorLines);
    context.exitCode = result.healthy ? EXIT.ok : EXIT.failed;
  });
}

/** The engine's own account, and what it cannot know: servers that run without opswap, whose code is not loaded there. */
async function examined(options: TargetOptions): Promise<DoctorResult> {
  const others = options.local ? [] : leftOut();
  try {
    const { healthy, checks } = await withTarget(options, (client) => client.doctor());
    return { healthy, checks: [...checks, ...others] };
  } catch (error) {
    if (!(error instanceof OpswapError) || !NO_ACCOUNT.has(error.code)) throw error;
    return alone(error, others);
  }
}

function leftOut(): Check[] {
  const known = new Set(discover().map(({ pid }) => pid));
  return pluginChecks(
    process.env.VLLM_PLUGINS,
    vllmProcesses().filter(({ pid }) => !known.has(pid)),
  );
}
