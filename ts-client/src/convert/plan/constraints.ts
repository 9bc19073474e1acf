/** Rules of engines for layers that ranks share, and which of them a plan breaks. */
import { z } from "zod";
import { sglang } from "../readers/sglang.js";
import type { Matrix } from "../readers/types.js";
import { vllm } from "../readers/vllm.js";
import { linearOf } from "../source/layer-names.js";
import { parseJsonText } from "../text/python-json.js";
import type { Plan } from "./types.js";

/** What an engine will not load, or loads wrongly, and what to do about it. */
export interface Constraint {
  engine: string;
  version: string;
  /** Ranks that share a layer. */
  tp: number;
  problem: string;
  tensors: readonly string[];
  remedy: string;
}

const VLLM = { engine: vllm.name, version: vllm.version };
const SGLANG = { engine: sglang.name, version: sglang.version };

/** Layers whose rows, or whose columns, are shared out between ranks. */
const BY_ROWS =
  /^(q_proj|k_proj|v_proj|query|key|value|gate_proj|up_proj|w1|w3|q_b_proj|kv_b_proj|fc1|qkv_proj)$/;
const BY_COLUMNS = /^(o_proj|down_proj|w2|out_proj|fc2|dense)$/;
const KV = /^(k_proj|v_proj)$/;

const config = z.object({
  num_key_value_heads: z.number().int().positive().optional(),
});

/** Rules of engines for shared layers that the planned output breaks, for each number of ranks. */
export function brokenConstraints(plan: Plan, ranks: readonly number[]): Constraint[] {
  const facts = plan.config === null ? {} : (config.safeParse(parseJsonText(plan.config)).data ?? {});
  const heads = facts.num_key_value_heads ?? Number.POSITIVE_INFINITY;
  const { border } = plan.format;
  return ranks.flatMap((tp) => [
    ...rowsSplit(plan.matrices, tp, heads, border),
    ...columnsSplit(plan.matrices, tp, border),
  ]);
}

function rowsSplit(tensors: readonly Matrix[], tp: number, heads: number, border: number) {
  const extent = (tensor: Matrix, leaf: string) => {
    const parts = KV.test(leaf) ? Math.min(tp, heads) : tp;
    return parts === 1 ? border : (tensor.shape[0] ?? 0) / parts;
  };
  return broken(tensors, tp, BY_ROWS, border, extent).map((found) => ({
    ...found,
    problem: `rows of a rank are no multiple of ${border}: ${found.problem}`,
  }));
}

function columnsSplit(tensors: readonly Matrix[], tp: number, border: number) {
  const extent = (tensor: Matrix) => (tp === 1 ? border : (tensor.shape[1] ?? 0) / tp);
  return broken(tensors, tp, BY_COLUMNS, border, extent).map((found) => ({
    ...found,
    problem: `columns of a rank are no multiple of ${border}: ${found.problem}`,
  }));
}

function broken(
  tensors: readonly Matrix[],
  tp: number,
  layers: RegExp,
  border: number,
  extent: (tensor: Matrix, leaf: string) => number,
): Constraint[] {
  const byLayer = new Map<string, Matrix[]>();
  for (const tensor of tensors) {
    const leaf = linearOf(tensor.name)?.leaf ?? "";
    if (!layers.test(leaf) || extent(tensor, leaf) % border === 0) continue;
    byLayer.set(leaf, [...(byLayer.get(leaf) ?? []), tensor]);
  }
  return [...byLayer].flatMap(([leaf, found]) => {
    const first = found[0];
    const one = {
      tp,
      problem: `${leaf} has ${first && extent(first, leaf)}`,
      tensors: found.map((tensor) => tensor.name),
      remedy: `use fewer ranks, or keep them: --keep '*.${leaf}.weight'`,
    };
    return [
      { ...VLLM, ...one },
      { ...SGLANG, ...one },
    ];
  });
}
