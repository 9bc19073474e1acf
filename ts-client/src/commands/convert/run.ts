/** `opswap convert run`. */
import type { Command } from "commander";
import { type Context, examples } from "../context.js";
import { converting } from "./conversion.js";

export function runCommand(context: Context): Command {
  return converting(context, "run", "convert, without the verification afterwards", false).addHelpText(
    "after",
    examples(
      "convert run Qwen3-8B Qwen3-8B-FP8",
      "convert run Qwen3-8B Qwen3-8B-FP8 --json | tee log.jsonl",
      "convert run Qwen3-8B Qwen3-8B-FP8 --shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT",
    ),
  );
}
