/** `opswap convert diff`. */
import { Command } from "commander";
import { defaultThreads, diff } from "../../convert/index.js";
import { table } from "../../view/table.js";
import { type Context, EXIT, examples, show } from "../context.js";
import { untilEofOption } from "./options.js";

export function diffCommand(context: Context): Command {
  const command = new Command("diff")
    .description("compare two checkpoints tensor by tensor, bit for bit; exits 1 when they differ")
    .argument("<a>", "a folder of safetensors, or one file")
    .argument("<b>", "another")
    .option("--json", "print JSON")
    .addHelpText("after", examples("convert diff Qwen3-8B-FP8 Qwen3-8B-FP8.again"));
  return untilEofOption(command).action(async (a: string, b: string, options: { json?: boolean }) => {
    const found = await diff(a, b, defaultThreads());
    show(context.io, options.json, found, ({ same, entries }) => {
      const rows = entries.map(({ name, what, detail }) => [name, what, detail]);
      const head =
        rows.length === 0 ? [] : table([{ head: "TENSOR" }, { head: "WHAT" }, { head: "HOW" }], rows);
      return [...head, `${same} tensors are the same, ${entries.length} differ`];
    });
    context.exitCode = found.entries.length === 0 ? EXIT.ok : EXIT.failed;
  });
}
