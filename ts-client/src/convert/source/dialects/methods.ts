/** Reads the quantization_config of each tool that is known, by its quant_method. */
import { z } from "zod";
import type { MethodFacts } from "./types.js";

const json = z.record(z.string(), z.unknown());
type Json = z.infer<typeof json>;
const size = z.tuple([z.number().int().positive(), z.number().int().positive()]);

const sizes = (block: Json): MethodFacts => {
  const sides = size.safeParse(block.weight_block_size).data;
  return sides === undefined ? {} : { block: sides };
};

/** What is read of each tool. */
export const METHODS: Readonly<Record<string, (block: Json) => MethodFacts>> = {
  fp8: sizes,
  fbgemm_fp8: () => ({}),
  opswap: () => ({}),
  w4afp8: sizes,
  mxfp4: () => ({}),
  modelopt: fromModelopt,
  quark: fromQuark,
  "compressed-tensors": fromCompressedTensors,
  awq: fromAwq,
  gptq: fromGptq,
};

const READ_ALGORITHMS = /^(FP8|FP8_PB_WO|FP8_BLOCK_SCALES|FP8_PER_CHANNEL_PER_TOKEN|MXFP8)$/i;

/** hf_quant_config.json has the facts one level lower. */
function fromModelopt(block: Json): MethodFacts {
  const facts = { ...block, ...(json.safeParse(block.quantization).data ?? {}) } as Json;
  const layers = json.safeParse(facts.quantized_layers).data ?? {};
  const algorithms = [
    facts.quant_algo,
    ...Object.values(layers).map((one) => json.safeParse(one).data?.quant_algo),
  ];
  const other = algorithms.find(
    (one) => typeof one === "string" && !READ_ALGORITHMS.test(one) && one !== "MIXED_PRECISION",
  );
  return other === undefined ? {} : { unread: `ModelOpt as ${String(other)}` };
}

/** Quark's FP8 is as others have it; its other types are packed in its own ways. */
function fromQuark(block: Json): MethodFacts {
  const weight = json.safeParse(json.safeParse(block.global_quant_config).data?.weight).data;
  const dtype = String(weight?.dtype ?? "an unknown type");
  return dtype.startsWith("fp8") ? {} : { unread: `Quark as ${dtype}` };
}

const CT_FORMATS =
  /^(dense|float-quantized|int-quantized|naive-quantized|pack-quantized|mixed-precision|mxfp4-pack-quantized|mxfp8-quantized)$/;
const ctWeights = z.object({
  num_bits: z.number().optional(),
  group_size: z.number().nullish(),
  block_structure: size.nullish(),
});
const ctGroup = z.object({ weights: ctWeights.nullish(), format: z.string().nullish() });
const ct = z.object({
  format: z.string().nullish(),
  config_groups: z.record(z.string(), ctGroup).optional(),
  sparsity_config: z.object({ format: z.string().nullish() }).nullish(),
  transform_config: z.object({ config_groups: z.record(z.string(), z.unknown()).optional() }).nullish(),
});

function fromCompressedTensors(block: Json): MethodFacts {
  const parsed = ct.safeParse(block);
  if (!parsed.success) return { unread: `compressed-tensors with ${parsed.error.issues[0]?.path.join(".")}` };
  const {
    format,
    config_groups: named = {},
    sparsity_config: sparsity,
    transform_config: transform,
  } = parsed.data;
  const groups = Object.values(named);
  const formats = [format, sparsity?.format, ...groups.map((one) => one.format)].flatMap((one) => one ?? []);
  const other = formats.find((one) => !CT_FORMATS.test(one));
  if (other !== undefined) return { unread: `compressed-tensors as ${other}` };
  if (Object.keys(transform?.config_groups ?? {}).length > 0)
    return { unread: "compressed-tensors with transforms that engines undo" };
  const only = <T>(values: (T | null | undefined)[]) => {
    const there = new Set(values.flatMap((one) => one ?? []));
    return there.size === 1 ? [...there][0] : undefined;
  };
  const bits = only(groups.map(({ weights }) => weights?.num_bits));
  const size = only(groups.map(({ weights }) => weights?.group_size));
  const sides = groups.flatMap(({ weights }) =>
    weights?.block_structure ? [weights.block_structure] : [],
  )[0];
  return {
    ...(bits === undefined ? {} : { bits }),
    ...(size === undefined ? {} : { group: size }),
    ...(sides === undefined ? {} : { block: sides }),
  };
}

/** AutoAWQ calls the bits and the group by other names in config.json than in its own file. */
const awq = z.object({
  version: z.string().default("gemm"),
  bits: z.number().optional(),
  w_bit: z.number().optional(),
  group_size: z.number().optional(),
  q_group_size: z.number().optional(),
});

function fromAwq(block: Json): MethodFacts {
  const facts = awq.safeParse(block).data;
  if (facts === undefined || !/^gemm$/i.test(facts.version))
    return { unread: `AWQ as ${facts?.version ?? "another version"}` };
  const bits = facts.bits ?? facts.w_bit ?? 4;
  if (bits !== 4) return { unread: `AWQ with ${bits} bits` };
  return { bits, group: facts.group_size ?? facts.q_group_size ?? -1 };
}

const gptq = z.object({
  bits: z.number(),
  group_size: z.number().default(-1),
  checkpoint_format: z.string().nullish(),
  is_marlin_format: z.boolean().nullish(),
});

function fromGptq(block: Json): MethodFacts {
  const facts = gptq.safeParse(block).data;
  if (facts === undefined) return { unread: "GPTQ without its number of bits" };
  const { bits, group_size: group, checkpoint_format: format, is_marlin_format: marlin } = facts;
  const form = marlin ? "marlin" : (format ?? "gptq");
  if (!/^gptq(_v2)?$/.test(form)) return { unread: `GPTQ as ${form}` };
  if (bits !== 4 && bits !== 8) return { unread: `GPTQ with ${bits} bits` };
  return { bits, group, zerosAsTheyAre: form === "gptq_v2" };
}
