// Peak memory and rate of reading quantised checkpoints, each one large tensor of holes with what belongs to it, to BF16 and
// to block FP8. Prints JSON. `--gb N` is the size of the weights in BF16, `--folder DIR`.
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { timed } from "./_timed.mjs";

const { values } = parseArgs({
  options: { gb: { type: "string", default: "2" }, folder: { type: "string", default: tmpdir() } },
});
const cli = fileURLToPath(new URL("../../dist/opswap.cjs", import.meta.url));
const [ROWS, COLUMNS] = [4096, 8192];
const EXPERTS = Math.max(1, Math.round((Number(values.gb) * 1e9) / (2 * ROWS * COLUMNS)));
const ALL = EXPERTS * ROWS;
const NAME = "model.layers.0.mlp.down_proj";
const STACKED = "model.layers.0.mlp.experts.gate_up_proj";
const WIDTHS = { F8_E4M3: 1, I32: 4, U8: 1, F32: 4, F16: 2, BF16: 2 };

/** @typedef {Record<string, [keyof typeof WIDTHS, number[]]>} Tensors */
/** @type {Record<string, [object, Tensors, string[]]>} what each says of itself, has, and can be written as */
const SOURCES = {
  "stacked FP8 of blocks": [
    { quant_method: "fp8", weight_block_size: [128, 128] },
    {
      [STACKED]: ["F8_E4M3", [EXPERTS, ROWS, COLUMNS]],
      [`${STACKED}_scale_inv`]: ["F32", [EXPERTS, ROWS / 128, COLUMNS / 128]],
    },
    ["bf16"],
  ],
  "stacked MXFP4, turned": [
    { quant_method: "mxfp4" },
    {
      [`${STACKED}_blocks`]: ["U8", [EXPERTS, ROWS, COLUMNS / 32, 16]],
      [`${STACKED}_scales`]: ["U8", [EXPERTS, ROWS, COLUMNS / 32]],
    },
    ["bf16"],
  ],
  AWQ: [
    { quant_method: "awq", bits: 4, group_size: 128, version: "gemm" },
    {
      [`${NAME}.qweight`]: ["I32", [COLUMNS, ALL / 8]],
      [`${NAME}.qzeros`]: ["I32", [COLUMNS / 128, ALL / 8]],
      [`${NAME}.scales`]: ["F16", [COLUMNS / 128, ALL]],
    },
    ["bf16", "fp8_block128", "ct_fp8_channel"],
  ],
  GPTQ: [
    { quant_method: "gptq", bits: 4, group_size: 32 },
    {
      [`${NAME}.qweight`]: ["I32", [COLUMNS / 8, ALL]],
      [`${NAME}.qzeros`]: ["I32", [COLUMNS / 32, ALL / 8]],
      [`${NAME}.scales`]: ["F16", [COLUMNS / 32, ALL]],
    },
    ["bf16"],
  ],
  "compressed-tensors W4A16 of groups of 32": [
    { quant_method: "compressed-tensors", format: "pack-quantized", config_groups: {} },
    {
      [`${NAME}.weight_packed`]: ["I32", [ALL, COLUMNS / 8]],
      [`${NAME}.weight_scale`]: ["BF16", [ALL, COLUMNS / 32]],
    },
    ["bf16", "fp8_block128"],
  ],
};

/** @param {string} folder @param {object} quantization @param {Tensors} tensors */
function write(folder, quantization, tensors) {
  mkdirSync(folder);
  let end = 0;
  /** @type {Record<string, unknown>} */
  const header = {};
  for (const [name, [dtype, shape]] of Object.entries(tensors)) {
    const begin = end;
    end += shape.reduce((a, b) => a * b, WIDTHS[dtype]);
    header[name] = { dtype, shape, data_offsets: [begin, end] };
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = openSync(join(folder, "model.safetensors"), "w");
  writeSync(file, Buffer.concat([length, text]));
  truncateSync(join(folder, "model.safetensors"), 8 + text.length + end);
  closeSync(file);
  writeFileSync(join(folder, "config.json"), JSON.stringify({ quantization_config: quantization }));
}

const dir = mkdtempSync(join(values.folder, "opswap-bench-"));
try {
  /** @type {Record<string, object>} */
  const found = {};
  for (const [name, [quantization, tensors, layouts]] of Object.entries(SOURCES)) {
    const source = join(dir, "source");
    write(source, quantization, tensors);
    for (const layout of layouts) {
      const output = join(dir, "output");
      const { seconds, peak } = await timed(process.execPath, [
        cli,
        ...["convert", "run", source, output, "--quiet", "--to", layout],
      ]);
      const rate = (2 * ALL * COLUMNS) / seconds;
      found[`${name} to ${layout}`] = {
        seconds: Number(seconds.toFixed(2)),
        peak_mb: Math.round(peak / 1e6),
        weights_as_bf16_mb_per_s: Math.round(rate / 1e6),
      };
      rmSync(output, { recursive: true });
    }
    rmSync(source, { recursive: true });
  }
  console.log(JSON.stringify({ gb: values.gb, sources: found }, null, 2));
} finally {
  rmSync(dir, { recursive: true, force: true });
}
