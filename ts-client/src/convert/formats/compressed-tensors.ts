/** The FP8 layouts of compressed-tensors, and its block of config.json. */
import type { BlockScheme } from "../../types/convert-job.js";
import { isExpert } from "../source/layer-names.js";
import { BLOCK, blockObstacle, blocksOf } from "./blocks.js";
import { FP8_BLOCK } from "./fp8-block128.js";
import { FP8_TENSOR } from "./fp8-tensor.js";
import type { Format, LoaderFiles, Modules } from "./types.js";

type Arguments = Record<string, unknown>;
const FLOAT = { num_bits: 8, type: "float", symmetric: true };

/** Layers of one kind in config.json: every linear one, or those that patterns name, which go first. */
export function groupOf(format: string, weights: Arguments, activations: Arguments, targets = ["Linear"]) {
  return {
    format,
    targets,
    weights: { ...weights, dynamic: false },
    input_activations: { ...FLOAT, ...activations, dynamic: true },
    output_activations: null,
  };
}

/**
 * Names of kept modules. transformers would quantise a tied head as one more linear layer, and find no scales for it;
 * vLLM asks for stacked experts by names of single ones, which only a pattern can say.
 */
function ignored({ kept, tiedHead }: Modules): string[] {
  const stacked = kept.filter((name) => name.endsWith(".experts"));
  const patterns = stacked.map((name) => `re:${name.replaceAll(".", "\\.")}.*`);
  return [...kept, ...patterns, ...(tiedHead ? ["lm_head"] : [])].sort();
}

/** config.json's block as compressed-tensors writes it. */
export function compressedTensors(groups: ReturnType<typeof groupOf>[], modules: Modules): LoaderFiles {
  const formats = new Set(groups.map(({ format }) => format));
  return {
    config: {
      config_groups: Object.fromEntries(groups.map((group, i) => [`group_${i}`, group])),
      format: formats.size > 1 ? "mixed-precision" : [...formats].join(""),
      ignore: ignored(modules),
      kv_cache_scheme: null,
      quant_method: "compressed-tensors",
      quantization_status: "compressed",
    },
    others: {},
  };
}

interface Variant {
  strategy: string;
  summary: string;
  scheme: BlockScheme;
  scales(shape: readonly number[]): number[];
  weights?: Arguments;
  activations: Arguments;
  /** Of experts, where those differ. */
  expertActivations?: Arguments;
}

/** Experts of any model, by the names that engines ask for. */
export const EXPERT_TARGETS = ["re:.*\\.experts\\.\\d+\\..*"];

const float8Group = ({ strategy, weights, activations }: Variant, targets?: string[]) =>
  groupOf("float-quantized", { ...FLOAT, strategy, ...weights }, activations, targets);

/** Experts go first where they have a group of their own. */
function float8Groups(variant: Variant, { quantized }: Modules) {
  const { expertActivations: activations } = variant;
  if (activations === undefined || !quantized.some((name) => isExpert(`${name}.weight`)))
    return [float8Group(variant)];
  return [float8Group({ ...variant, activations }, EXPERT_TARGETS), float8Group(variant)];
}

function float8(variant: Variant, more: Pick<Format, "border" | "obstacle" | "shared">): Format {
  const { strategy, scheme } = variant;
  const id = `ct_fp8_${strategy}`;
  return {
    id,
    version: 1,
    summary: variant.summary,
    scales: ["amax"],
    nan: true,
    ...more,
    encode: ({ name, shape }) => ({
      action: id,
      scheme,
      data: { name, dtype: "F8_E4M3", shape },
      scale: { name: `${name}_scale`, dtype: "F32", shape: variant.scales(shape) },
    }),
    files: (modules) => compressedTensors(float8Groups(variant, modules), modules),
  };
}

export const ctFp8Tensor = float8(
  {
    strategy: "tensor",
    summary: "compressed-tensors: FP8 with one scale for a matrix, shared by parts that engines fuse",
    scheme: FP8_TENSOR,
    scales: () => [1],
    activations: { strategy: "token" },
    // vLLM's experts take one scale for a matrix with inputs of one scale alone.
    expertActivations: { strategy: "tensor" },
  },
  { border: 1, shared: true, obstacle: () => undefined },
);

export const ctFp8Channel = float8(
  {
    strategy: "channel",
    summary: "compressed-tensors: FP8 with a scale for each row, which it calls FP8_DYNAMIC",
    scheme: { code: "e4m3", blockRows: 1, blockColumns: 0, scale: "F32" },
    scales: ([rows = 0]) => [rows, 1],
    activations: { strategy: "token" },
  },
  { border: 1, obstacle: () => undefined },
);

const BLOCKS: Variant = {
  strategy: "block",
  summary: "compressed-tensors: FP8 with a scale for each 128 x 128 block, which it calls FP8_BLOCK",
  scheme: FP8_BLOCK,
  scales: blocksOf,
  weights: { block_structure: [BLOCK, BLOCK] },
  activations: { strategy: "group", group_size: BLOCK },
};

export const ctFp8Block = float8(BLOCKS, { border: BLOCK, obstacle: blockObstacle });
export const blockGroup = float8Group(BLOCKS);
