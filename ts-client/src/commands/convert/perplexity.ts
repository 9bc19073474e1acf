/** `opswap convert perplexity`. */
import { Command, InvalidArgumentError } from "commander";
import { type PerplexityOptions, perplexity } from "../../convert/index.js";
import { perplexityWords } from "../../convert/report/perplexity-report.js";
import { type Context, examples, show } from "../context.js";
import { untilEofOption } from "./options.js";

export function perplexityCommand(context: Context): Command {
  const command = new Command("perplexity")
    .description("measure perplexity before and after, and write it into the report of an output")
    .argument("<source>", "what the output was made from: a folder of safetensors with its tokenizer")
    .argument("<output>", "the folder that was made")
    .requiredOption("--text <file>", "a file of text in UTF-8")
    .option("--tokens <n>", "how many tokens of it, in windows of 512", tokens)
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      examples("convert perplexity Qwen3-0.6B-BF16 Qwen3-0.6B-FP8 --text book.txt --tokens 16384"),
    );
  return untilEofOption(command).action(
    async (source: string, output: string, options: PerplexityOptions & { json?: boolean }) => {
      const found = await perplexity(source, output, options);
      show(context.io, options.json, found, (shown) => [`${output}: ${perplexityWords(shown)}`]);
    },
  );
}

export function tokens(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 512) throw new InvalidArgumentError("a number from 512");
  return value;
}
