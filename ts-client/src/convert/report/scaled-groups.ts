/** The scales of --awq in the report, group by group, gathered from what is said of each tensor. */
import { z } from "zod";
import type { TensorReport } from "./tensor-report.js";

/** Scales of channels, and what they were good for. */
export const scaledGroup = z.object({
  from: z.string(),
  into: z.array(z.string()),
  alpha: z.number(),
  error_before: z.number(),
  error_after: z.number(),
});
export type ScaledGroup = z.infer<typeof scaledGroup>;

/** The folds of a conversion, from what each tensor's line says; in the order of the tensors. */
export function groupsIn(tensors: readonly TensorReport[]): ScaledGroup[] {
  const groups = new Map<string, ScaledGroup>();
  for (const { name, folds } of tensors)
    for (const { role, from, ...found } of folds ?? []) {
      const group = groups.get(from) ?? { from, into: [], ...found };
      groups.set(from, group);
      if (role === "into") group.into.push(name);
    }
  return [...groups.values()];
}
