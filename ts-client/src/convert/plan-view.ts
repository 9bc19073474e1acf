import { existsSync } from "node:fs";
import path from "node:path";
import type { Constraint } from "./constraints.js";
import { type Plan, sum } from "./plan.js";
import { roomFor } from "./room.js";

/** A plan for people and scripts: every tensor, sizes, room, and rules of loaders that it breaks. */
export function planView(plan: Plan, constraints: readonly Constraint[], output: string | undefined) {
  const tensors = plan.files.flatMap((file) =>
    file.tensors.map(({ name, source, action, why, data, scale, constants }) => ({
      name,
      file: file.name,
      dtype: source.dtype,
      shape: source.shape,
      bytes: source.end - source.begin,
      action,
      why,
      output_dtype: data.dtype,
      output_bytes: data.bytes + (scale?.bytes ?? 0) + sum(constants, ({ placed }) => placed.bytes),
    })),
  );
  return {
    layout: { id: plan.format.id, version: plan.format.version },
    options: plan.options,
    tensors,
    quantized: plan.quantized.length,
    kept_modules: plan.kept,
    source_bytes: plan.sourceBytes,
    output_bytes: plan.outputBytes,
    carried: plan.side.map(({ name }) => name),
    added: plan.extra.map(({ name }) => name),
    left_out: plan.source.leftOut,
    room: output === undefined ? null : room(plan, output),
    folds: foldsOf(plan),
    unscaled: plan.folding?.unscaled ?? [],
    constraints,
  };
}

function foldsOf({ folding }: Plan) {
  return (folding?.folds ?? []).map(({ kind, from, into, measured, repeat }) => ({
    kind,
    from: from.tensor.name,
    into: into.map(({ tensor }) => tensor.name),
    statistics: `${measured.name}.mean_square`,
    columns_of_a_channel: repeat,
  }));
}

function room(plan: Plan, output: string) {
  let folder = path.resolve(output);
  while (!existsSync(folder)) folder = path.dirname(folder);
  const { needed, free } = roomFor(plan, folder);
  return { needed, free, enough: needed <= free };
}
