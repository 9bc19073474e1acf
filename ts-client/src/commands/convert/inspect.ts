/** `opswap convert inspect`. */
import { Command } from "commander";
import { type Inspection, inspect } from "../../convert/index.js";
import { bytes, count } from "../../view/format.js";
import { table, toWidth } from "../../view/table.js";
import { type Context, examples, show } from "../context.js";
import { untilEofOption } from "./options.js";

export function inspectCommand(context: Context): Command {
  const command = new Command("inspect")
    .description("show what is in a checkpoint, by its headers")
    .argument("<checkpoint>", "a folder of safetensors or GGUF, or one file")
    .option("--tensors", "list every tensor")
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      examples("convert inspect Qwen3-8B", "convert inspect model.safetensors --tensors"),
    );
  return untilEofOption(command).action(
    (checkpoint: string, options: { tensors?: boolean; json?: boolean }) => {
      show(context.io, options.json, inspect(checkpoint), (found) => lines(found, options.tensors ?? false));
    },
  );
}

function lines(found: Inspection, all: boolean): string[] {
  const files = found.files.map((file) => [file.name, count(file.tensors), bytes(file.bytes)]);
  const dtypes = found.dtypes.map((one) => [one.dtype, count(one.tensors), bytes(one.bytes)]);
  const right = (head: string) => ({ head, right: true });
  const tensors = found.tensors.map((one) => [
    one.name,
    one.dtype,
    `[${one.shape.join(", ")}]`,
    bytes(one.bytes),
  ]);
  const layout = found.layout ? ` (${found.layout.id}, version ${found.layout.version})` : "";
  const fates = new Map(found.fates?.map(({ key, fate, why }) => [key, why ? `${fate}: ${why}` : fate]));
  const becomes = found.fates === null ? [] : [{ head: "BECOMES" }];
  const facts = found.files.flatMap(({ metadata }) =>
    Object.entries(metadata).map(([key, value]) => [
      key,
      toWidth(value.replace(/\s+/g, " "), 80),
      ...(found.fates === null ? [] : [fates.get(key) ?? ""]),
    ]),
  );
  return [
    `${found.root}${layout}`,
    "",
    ...table([{ head: "FILE" }, right("TENSORS"), right("SIZE")], files),
    "",
    ...table([{ head: "DTYPE" }, right("TENSORS"), right("SIZE")], dtypes),
    ...(facts.length > 0 ? ["", ...table([{ head: "METADATA" }, { head: "VALUE" }, ...becomes], facts)] : []),
    ...(all
      ? ["", ...table([{ head: "TENSOR" }, { head: "DTYPE" }, { head: "SHAPE" }, right("SIZE")], tensors)]
      : []),
  ];
}
