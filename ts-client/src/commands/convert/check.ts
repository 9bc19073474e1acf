/** `opswap convert check`. */
import { Command, Option } from "commander";
import { type CheckResult, check, READER_IDS, type Reader } from "../../convert/index.js";
import { verdictLines } from "../../convert/readers/verdicts.js";
import { count } from "../../view/format.js";
import { type Context, EXIT, examples, show } from "../context.js";
import { untilEofOption } from "./options.js";

/** Names of tensors that are shown of each finding. */
const SHOWN = 5;

export function checkCommand(context: Context): Command {
  const command = new Command("check")
    .description(
      "say what each reader will do with a checkpoint, whoever wrote it; exits 1 where one is lost",
    )
    .argument("<checkpoint>", "a folder of safetensors or GGUF, or one file")
    .addOption(new Option("--for <reader>", "what will load it").choices(READER_IDS))
    .option("--json", "print JSON")
    .addHelpText("after", examples("convert check DeepSeek-V3", "convert check Qwen3-8B-FP8 --for vllm"));
  return untilEofOption(command).action((checkpoint: string, options: { for?: Reader; json?: boolean }) => {
    const reader = options.for ?? null;
    const checked = check(checkpoint, reader);
    show(context.io, options.json, checked, lines);
    const refused = reader !== null && checked.readers.some(({ loads }) => !loads);
    context.exitCode = checked.findings.length > 0 || refused ? EXIT.failed : EXIT.ok;
  });
}

function lines({ layout, method, architectures, tensors, findings, readers }: CheckResult): string[] {
  const what = layout ?? `a layout of ${method}, of which no reader's rules are known here`;
  const found = findings.flatMap(({ kind, tensors: names, problem, remedy }) => [
    `${kind}: ${count(names.length)} tensors ${problem}`,
    ...names.slice(0, SHOWN).map((name) => `    ${name}`),
    ...(names.length > SHOWN ? [`    and ${count(names.length - SHOWN)} more`] : []),
    `  ${remedy}`,
  ]);
  return [
    `${architectures.join(", ") || "no architecture named"}: ${count(tensors)} tensors, ${what}`,
    ...(found.length > 0 ? found : ["No scale is missing, and config.json names what is kept."]),
    ...readers.flatMap(verdictLines),
  ];
}
