import { Command } from "commander";
import { declared, type Manifest, type ManifestArgument, type ManifestOp } from "../client/index.js";
import { table } from "../view/table.js";
import {
  type Context,
  EXIT,
  examples,
  show,
  sidecarOption,
  type Target,
  targetOptions,
  withTarget,
} from "./context.js";

export function manifestCommand(context: Context): Command {
  const command = new Command("manifest")
    .description("print what the library declares: its ops, or one op with its arguments")
    .argument("[op]", "one op")
    .addHelpText("after", examples("manifest", "manifest rotary_embedding --local", "manifest --json"));
  return sidecarOption(targetOptions(command)).action(async (op: string | undefined, options: Target) => {
    const manifest = await withTarget(options, (client) => client.manifest());
    if (op === undefined) show(context.io, options.json, manifest, listLines);
    else show(context.io, options.json, declared(manifest, op), opLines);
    context.exitCode = EXIT.ok;
  });
}

function listLines(manifest: Manifest): string[] {
  const rows = manifest.ops.map((op) => [op.op, String(op.version), op.summary]);
  return table([{ head: "OP" }, { head: "VERSION", right: true }, { head: "SUMMARY" }], rows);
}

function opLines(op: ManifestOp): string[] {
  const rows = op.args.map((argument) => [
    argument.name,
    argument.shape ? `[${argument.shape.join(", ")}] ${argument.dtype}` : argument.kind,
    access(argument),
    argument.default === undefined ? "" : String(argument.default),
    argument.doc ?? "",
  ]);
  const columns = ["ARGUMENT", "KIND", "", "DEFAULT", "MEANING"].map((head) => ({ head }));
  const types = Object.entries(op.types ?? {}).map(([name, dtypes]) => `${name}: ${dtypes.join(", ")}`);
  const needs = (op.require ?? []).map((condition) => `needs ${condition}`);
  return [`${op.op} version ${op.version}: ${op.summary}`, ...table(columns, rows), ...types, ...needs];
}

function access({ writes, reads, optional }: ManifestArgument): string {
  const written = writes ? [reads === true ? "written in place" : "written"] : [];
  const read = writes && typeof reads === "string" ? [`in place if ${reads}`] : [];
  return [...written, ...read, ...(optional ? ["optional"] : [])].join(", ");
}
