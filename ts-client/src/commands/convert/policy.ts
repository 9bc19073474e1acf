/** `opswap convert policy`. */
import { Command } from "commander";
import { type ConvertOptions, openSource, type PolicyView, policyView } from "../../convert/index.js";
import { bytes, count } from "../../view/format.js";
import { table } from "../../view/table.js";
import { type Context, examples, show } from "../context.js";
import { chosen, conversionOptions, type Tokenizer, untilEofOption } from "./options.js";

export function policyCommand(context: Context): Command {
  const command = new Command("policy")
    .description("print which tensors stay as they are, rule by rule; with a source, how many and why")
    .argument("[source]", "a folder of safetensors or GGUF, or one file")
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      examples(
        "convert policy --policy experts",
        "convert policy Qwen3-8B --keep '*.layers.{last}.*' --json",
      ),
    );
  return untilEofOption(conversionOptions(command)).action(
    (given: string | undefined, options: ConvertOptions & Tokenizer & { json?: boolean }) => {
      const source = given === undefined ? null : openSource(given, options.tokenizer);
      show(context.io, options.json, policyView(chosen(options), source), lines);
    },
  );
}

function lines({ policy, means, layout, rules, together, outcome }: PolicyView): string[] {
  const steps = rules.map(({ action, tensors, why }, i) => [`${i + 1}`, action, tensors, why]);
  return [
    `Policy ${policy}: ${means}. The first rule that applies decides.`,
    "",
    ...table(
      ["", "", "TENSORS", "WHY"].map((head) => ({ head })),
      steps,
    ),
    "",
    `Then ${layout}: kept whole are matrices that it cannot have, and what is fused with one that is kept:`,
    `  ${together.map((names) => names.join("/")).join(", ")}, and the experts of a layer`,
    ...(outcome === null ? [] : ["", ...outcomeLines(outcome)]),
  ];
}

function outcomeLines(outcome: NonNullable<PolicyView["outcome"]>): string[] {
  const rows = outcome.map((one) => [
    one.action === "copy" ? "kept" : one.action,
    count(one.tensors),
    bytes(one.bytes),
    one.why,
    one.first,
  ]);
  const right = (head: string) => ({ head, right: true });
  return table([{ head: "" }, right("TENSORS"), right("SIZE"), { head: "WHY" }, { head: "THE FIRST" }], rows);
}
