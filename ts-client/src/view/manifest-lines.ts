/** The manifest as lines for people. */
import type { Manifest, ManifestArgument, ManifestOp } from "../client/index.js";
import { table } from "./table.js";

/** The ops of a library, one a line. */
export function manifestLines(manifest: Manifest): string[] {
  const rows = manifest.ops.map((op) => [op.op, String(op.version), op.summary]);
  return table([{ head: "OP" }, { head: "VERSION", right: true }, { head: "SUMMARY" }], rows);
}

/** One op with its arguments. */
export function declarationLines(op: ManifestOp): string[] {
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
