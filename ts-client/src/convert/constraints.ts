import { z } from "zod";
import { linearOf } from "./fused.js";
import type { Plan, PlannedTensor } from "./plan.js";

/** What an engine will not load, or loads wrongly, and what to do about it. */
export interface Constraint {
  engine: string;
  version: string;
  /** Ranks that share a layer; null when it holds for any number. */
  tp: number | null;
  problem: string;
  tensors: readonly string[];
  remedy: string;
}

const BLOCK = 128;
const VLLM = { engine: "vLLM", version: "0.33.0" };
const SGLANG = { engine: "SGLang", version: "0.5.23" };

/** Layers whose rows, or whose columns, are shared out between ranks. */
const BY_ROWS =
  /^(q_proj|k_proj|v_proj|query|key|value|gate_proj|up_proj|w1|w3|q_b_proj|kv_b_proj|fc1|qkv_proj)$/;
const BY_COLUMNS = /^(o_proj|down_proj|w2|out_proj|fc2|dense)$/;
const KV = /^(k_proj|v_proj)$/;

const config = z.object({
  architectures: z.array(z.string()).optional(),
  num_key_value_heads: z.number().int().positive().optional(),
});

/** Loader rules that the planned output breaks, for each number of ranks. */
export function brokenConstraints(plan: Plan, ranks: readonly number[]): Constraint[] {
  const facts = plan.config === null ? {} : (config.safeParse(JSON.parse(plan.config)).data ?? {});
  const quantized = plan.files.flatMap((file) => file.tensors.filter(isQuantized));
  const heads = facts.num_key_value_heads ?? Number.POSITIVE_INFINITY;
  const split = ranks.flatMap((tp) => [...rowsSplit(quantized, tp, heads), ...columnsSplit(quantized, tp)]);
  return [...renamed(facts.architectures ?? []), ...split];
}

const isQuantized = ({ scale, data }: PlannedTensor) => scale !== null || data.dtype.startsWith("F8");

function renamed(architectures: readonly string[]): Constraint[] {
  if (!architectures.includes("LlamaForCausalLM")) return [];
  return [
    {
      ...SGLANG,
      tp: null,
      problem: "its LlamaForCausalLM looks for weight_scale, does not find these scales, and computes NaN",
      tensors: [],
      remedy: "serve this output with vLLM, or convert a Qwen3 or DeepSeek checkpoint for SGLang",
    },
  ];
}

function rowsSplit(tensors: readonly PlannedTensor[], tp: number, heads: number): Constraint[] {
  return broken(tensors, tp, BY_ROWS, (tensor, leaf) => {
    const rows = tensor.source.shape[0] ?? 0;
    const parts = KV.test(leaf) ? Math.min(tp, heads) : tp;
    return parts === 1 ? BLOCK : rows / parts;
  }).map((found) => ({ ...found, problem: `rows of a rank are no multiple of ${BLOCK}: ${found.problem}` }));
}

function columnsSplit(tensors: readonly PlannedTensor[], tp: number): Constraint[] {
  return broken(tensors, tp, BY_COLUMNS, (tensor) =>
    tp === 1 ? BLOCK : (tensor.source.shape[1] ?? 0) / tp,
  ).map((found) => ({
    ...found,
    problem: `columns of a rank are no multiple of ${BLOCK}: ${found.problem}`,
  }));
}

function broken(
  tensors: readonly PlannedTensor[],
  tp: number,
  layers: RegExp,
  extent: (tensor: PlannedTensor, leaf: string) => number,
): Constraint[] {
  const byLayer = new Map<string, PlannedTensor[]>();
  for (const tensor of tensors) {
    const leaf = linearOf(tensor.name)?.leaf ?? "";
    if (!layers.test(leaf) || extent(tensor, leaf) % BLOCK === 0) continue;
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
