/** A plan as `opswap convert plan` shows it, for people and as JSON. */
import { existsSync } from "node:fs";
import path from "node:path";
import { verdictsOf } from "../readers/verdicts.js";
import type { TensorEntry } from "../source/safetensors/header.js";
import { sum } from "../sum.js";
import type { Constraint } from "./constraints.js";
import { spaceFor } from "./disk-space.js";
import { factsOf } from "./plan.js";
import type { Plan, PlannedFile } from "./types.js";

/** The action of a tensor that no output has. */
export const LEFT_OUT = "left out";

/** A plan for people and scripts: every tensor, sizes, room, and rules of loaders that it breaks. */
export function planView(plan: Plan, constraints: readonly Constraint[], output: string | undefined) {
  const tensors = plan.files.flatMap((file) => [...written(file), ...unwritten(file)]);
  return {
    layout: { id: plan.format.id, version: plan.format.version },
    options: plan.options,
    tensors,
    quantized: plan.quantized.length,
    kept_modules: plan.kept,
    source_bytes: plan.sourceBytes,
    output_bytes: plan.outputBytes,
    carried: plan.side.map(({ name }) => name),
    unknown: plan.side.filter((file) => file.unknown).map(({ name }) => name),
    added: plan.extra.map(({ name }) => name),
    left_out: plan.source.leftOut,
    metadata: plan.source.entries ?? [],
    room: output === undefined ? null : space(plan, output),
    folds: foldsOf(plan),
    unscaled: plan.folding?.unscaled ?? [],
    constraints,
    readers: verdictsOf(factsOf(plan)),
  };
}

const seen = ({ dtype, shape, begin, end }: TensorEntry) => ({ dtype, shape, bytes: end - begin });

function written({ name: file, tensors }: PlannedFile) {
  return tensors.map(({ name, source, action, why, data, scale, constants }) => ({
    name,
    file,
    ...seen(source),
    action,
    why,
    output_dtype: data.dtype as string | null,
    output_bytes: data.bytes + (scale?.bytes ?? 0) + sum(constants, ({ placed }) => placed.bytes),
  }));
}

function unwritten({ name: file, leftOut }: PlannedFile) {
  const none = { action: LEFT_OUT, output_dtype: null, output_bytes: 0 };
  return leftOut.map(({ tensor, why }) => ({ name: tensor.name, file, ...seen(tensor), ...none, why }));
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

function space(plan: Plan, output: string) {
  let folder = path.resolve(output);
  while (!existsSync(folder)) folder = path.dirname(folder);
  const { needed, free } = spaceFor(plan, folder);
  return { needed, free, enough: needed <= free };
}
