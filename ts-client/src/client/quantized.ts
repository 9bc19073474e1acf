/** Quantised arguments of a call, as the tensors that the op has. */
import { OpswapError } from "../types/errors.js";
import { Quantized } from "../types/quantized.js";
import type { ManifestOp } from "./manifest.js";
import type { CallArgument } from "./types.js";

/** Arguments with quantised ones taken apart, and the layouts that they came in, by the name of the data's argument. */
export interface TakenApart {
  args: Exclude<CallArgument, Quantized>[];
  layouts: Record<string, string>;
}

/** Puts data and scale where the op has them. Refuses a layout that is not the op's, and a scale that is given twice. */
export function takeApart(op: ManifestOp, args: readonly CallArgument[]): TakenApart {
  const apart: (CallArgument | undefined)[] = [...args];
  const layouts: Record<string, string> = {};
  for (const [index, argument] of args.entries()) {
    if (!(argument instanceof Quantized)) continue;
    const name = op.args[index]?.name ?? String(index);
    const scale = placeOfScale(op, name, argument.layout);
    if (apart[scale] !== null && apart[scale] !== undefined) {
      const other = op.args[scale]?.name;
      throw new OpswapError(
        "OPSWAP_E_ARGUMENT",
        `${op.op}: ${name} is quantised, but ${other} is given as well`,
      );
    }
    apart[index] = argument.data;
    apart[scale] = argument.scale;
    layouts[name] = argument.layout;
  }
  return { args: apart as TakenApart["args"], layouts };
}

function placeOfScale(op: ManifestOp, name: string, layout: string): number {
  const row = op.quantized?.find(({ data }) => data === name);
  if (row === undefined) {
    throw new OpswapError("OPSWAP_E_ARGUMENT", `${op.op}: ${name} is quantised, which the op does not take`);
  }
  if (row.layout !== layout) {
    throw new OpswapError(
      "OPSWAP_E_LAYOUT",
      `${op.op}: ${name} is in layout ${layout}, needs ${row.layout}`,
      {
        remedy: `convert the weights: \`opswap convert IN OUT --to ${row.layout}\``,
      },
    );
  }
  return op.args.findIndex((argument) => argument.name === row.scale);
}
