/** The W4A8 layouts of SGLang and of TensorRT-LLM. */
import { isExpert, linearOf } from "../source/layer-names.js";
import type { TensorEntry } from "../source/safetensors/header.js";
import { blockObstacle } from "./blocks.js";
import { fp8Block128 } from "./fp8-block128.js";
import { GROUP, groupsOf, int4Obstacle, int4Scheme } from "./int4.js";
import type { Constant, EncodeOptions, Encoding, Format, FusedGroup } from "./types.js";

/** Engines know the experts' parts by number. */
const PARTS: Readonly<Record<string, string>> = { gate_proj: "w1", down_proj: "w2", up_proj: "w3" };

/** Where loaders look for the static scale of an expert's inputs. */
export function inputScaleName(weight: string): string {
  const { parent = "", leaf = "" } = linearOf(weight) ?? {};
  return `${parent}${PARTS[leaf] ?? leaf}.input_scale`;
}

/** Experts in INT4, every other linear layer in block FP8; the bytes are the same for both engines. */
function encode(tensor: TensorEntry, options: EncodeOptions): Encoding {
  if (!isExpert(tensor.name)) return fp8Block128.encode(tensor, options);
  const { name, shape } = tensor;
  const [rows = 0, columns = 0] = shape;
  return {
    action: "w4a8_g128",
    scheme: int4Scheme("int4_signed", "F32", options.scales),
    data: { name, dtype: "I8", shape: [rows, columns / 2] },
    scale: { name: `${name}_scale_inv`, dtype: "F32", shape: groupsOf(shape) },
    constants: [scalar(inputScaleName(name), options.inputScale(tensor))],
  };
}

function scalar(name: string, value: number): Constant {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return { tensor: { name, dtype: "F32", shape: [1] }, bytes };
}

const obstacle = (group: FusedGroup) => (group.expert ? int4Obstacle(group) : blockObstacle(group));
const isExpertModule = (name: string) => isExpert(`${name}.weight`);

const common = {
  version: 1,
  scales: ["mse", "amax"],
  border: GROUP,
  nan: false,
  staticInputs: ({ name }) => isExpert(name),
  obstacle,
  encode,
} as const satisfies Partial<Format>;

export const w4a8Sglang: Format = {
  ...common,
  id: "w4a8_g128_sglang",
  summary:
    "experts INT4 in groups of 128 with F32 scales and static FP8 inputs, the rest block FP8: SGLang's w4afp8",
  files: () => ({
    config: { quant_method: "w4afp8", activation_scheme: "dynamic", weight_block_size: [GROUP, GROUP] },
    others: {},
  }),
};

export const w4a8Trtllm: Format = {
  ...common,
  id: "w4a8_g128_trtllm",
  summary:
    "the same bytes as w4a8_g128_sglang, described for TensorRT-LLM in quant_cfg.json and hf_quant_config.json",
  files: ({ quantized }) => {
    const algorithm = { quant_algo: "MIXED_PRECISION", kv_cache_quant_algo: null };
    return {
      config: null,
      others: {
        "quant_cfg.json": { ...algorithm, quantized_layers: layersOf(quantized) },
        "hf_quant_config.json": { quantization: algorithm },
      },
    };
  },
};

/** Layers by the names under which TensorRT-LLM fuses them. */
function layersOf(quantized: readonly string[]): Record<string, { quant_algo: string }> {
  const layers = quantized.map((name): [string, { quant_algo: string }] => {
    if (isExpertModule(name))
      return [name.replace(/(\.experts)\.\d+\..*$/, "$1"), { quant_algo: "W4A8_AWQ" }];
    const fused = name
      .replace(/\.(gate_proj|up_proj)$/, ".gate_up_proj")
      .replace(/\.(q_a_proj|kv_a_proj_with_mqa)$/, ".fused_a")
      .replace(/\.[qkv]_proj$/, ".qkv_proj");
    return [fused, { quant_algo: "FP8_BLOCK_SCALES" }];
  });
  return Object.fromEntries(layers.sort(([a], [b]) => (a < b ? -1 : 1)));
}
