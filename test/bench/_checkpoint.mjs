// A synthetic Llama checkpoint in BF16, of any size, made without holding it in memory.
import { closeSync, mkdirSync, openSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

const HIDDEN = 2048;
const WIDE = 5632;
const VOCABULARY = 32_000;
const KV = 512;
/** Normal values that the tensors are cut from, each at its own place. */
const POOL = 1 << 22;

/** @param {number} seed a small generator with a known sequence */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function pool() {
  const next = random(1);
  const values = new Float32Array(POOL);
  for (let i = 0; i < POOL; i++)
    values[i] = 0.02 * Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  const bits = new Uint32Array(values.buffer);
  return Uint16Array.from(bits, (u) => (u + 0x7fff + ((u >>> 16) & 1)) >>> 16);
}

/** @param {number} layers @returns {[string, number[]][]} */
function tensorsOf(layers) {
  /** @type {[string, number[]][]} */
  const all = [["model.embed_tokens.weight", [VOCABULARY, HIDDEN]]];
  for (let layer = 0; layer < layers; layer++) {
    const at = (/** @type {string} */ name) => `model.layers.${layer}.${name}.weight`;
    all.push([at("input_layernorm"), [HIDDEN]], [at("self_attn.q_proj"), [HIDDEN, HIDDEN]]);
    all.push([at("self_attn.k_proj"), [KV, HIDDEN]], [at("self_attn.v_proj"), [KV, HIDDEN]]);
    all.push([at("self_attn.o_proj"), [HIDDEN, HIDDEN]], [at("post_attention_layernorm"), [HIDDEN]]);
    all.push([at("mlp.gate_proj"), [WIDE, HIDDEN]], [at("mlp.up_proj"), [WIDE, HIDDEN]]);
    all.push([at("mlp.down_proj"), [HIDDEN, WIDE]]);
  }
  all.push(["model.norm.weight", [HIDDEN]], ["lm_head.weight", [VOCABULARY, HIDDEN]]);
  return all;
}

/** @param {number[]} shape */
const bytesOf = (shape) => 2 * shape.reduce((a, b) => a * b, 1);

/** @param {[string, number[]][]} tensors */
function headOf(tensors) {
  let offset = 0;
  /** @type {Record<string, unknown>} */
  const header = { __metadata__: { format: "pt" } };
  for (const [name, shape] of tensors) {
    const end = offset + bytesOf(shape);
    header[name] = { dtype: "BF16", shape, data_offsets: [offset, end] };
    offset = end;
  }
  const text = JSON.stringify(header);
  const padded = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded]);
}

/**
 * @param {string} file @param {[string, number[]][]} tensors @param {Uint16Array} values @param {() => number} next
 */
function writeShard(file, tensors, values, next) {
  const fd = openSync(file, "w");
  writeSync(fd, headOf(tensors));
  for (const [, shape] of tensors) {
    for (let left = bytesOf(shape) / 2; left > 0; ) {
      const start = Math.floor(next() * (POOL / 2));
      const part = values.subarray(start, start + Math.min(left, POOL / 2));
      writeSync(fd, new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
      left -= part.length;
    }
  }
  closeSync(fd);
}

/**
 * @param {string} folder @param {{ layers: number, shards: number }} size 20 layers are 2.07 GB
 * @returns {number} bytes of tensors
 */
export function writeCheckpoint(folder, { layers, shards }) {
  mkdirSync(folder, { recursive: true });
  const tensors = tensorsOf(layers);
  const total = tensors.reduce((sum, [, shape]) => sum + bytesOf(shape), 0);
  const values = pool();
  const next = random(2);
  /** @type {Record<string, string>} */
  const map = {};
  for (let shard = 1, at = 0, done = 0; shard <= shards; shard++) {
    const name = `model-${String(shard).padStart(5, "0")}-of-${String(shards).padStart(5, "0")}.safetensors`;
    /** @type {[string, number[]][]} */
    const mine = [];
    for (; at < tensors.length && (shard === shards || done < (total * shard) / shards); at++) {
      const tensor = /** @type {[string, number[]]} */ (tensors[at]);
      mine.push(tensor);
      map[tensor[0]] = name;
      done += bytesOf(tensor[1]);
    }
    writeShard(join(folder, name), mine, values, next);
  }
  const index = { metadata: { total_size: total }, weight_map: map };
  writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify(index, null, 2));
  writeFileSync(join(folder, "config.json"), `${JSON.stringify(configOf(layers), null, 2)}\n`);
  return total;
}

/**
 * One file whose weights are holes on disk and zeros to a reader.
 * @param {string} folder @param {number} gb at least @returns {number} bytes of the file
 */
export function writeSparse(folder, gb) {
  mkdirSync(folder, { recursive: true });
  let layers = 1;
  const bytes = () => tensorsOf(layers).reduce((sum, [, shape]) => sum + bytesOf(shape), 0);
  while (bytes() < gb * 1e9) layers++;
  const file = join(folder, "model.safetensors");
  const head = headOf(tensorsOf(layers));
  writeFileSync(file, head);
  truncateSync(file, head.length + bytes());
  writeFileSync(join(folder, "config.json"), `${JSON.stringify(configOf(layers), null, 2)}\n`);
  return head.length + bytes();
}

/**
 * Experts' matrices of 128 x 128, one row of each with weights and the others holes, in shards of 300.
 * @param {string} folder @param {number} count
 */
export function writeMany(folder, count) {
  mkdirSync(folder, { recursive: true });
  /** @type {Record<string, string>} */
  const map = {};
  const values = pool();
  for (let first = 0; first < count; first += 300) {
    /** @type {[string, number[]][]} */
    const tensors = Array.from({ length: Math.min(300, count - first) }, (_, i) => {
      const [layer, expert] = [Math.floor((first + i) / 768), Math.floor((first + i) / 3) % 256];
      const leaf = ["gate_proj", "up_proj", "down_proj"][(first + i) % 3];
      return [`model.layers.${layer}.mlp.experts.${expert}.${leaf}.weight`, [128, 128]];
    });
    const name = `model-${String(first).padStart(6, "0")}.safetensors`;
    const head = headOf(tensors);
    const fd = openSync(join(folder, name), "w");
    writeSync(fd, head);
    for (const [i, [tensor, shape]] of tensors.entries()) {
      const start = ((first + i) * 64) % (POOL - 128);
      const row = values.subarray(start, start + 128);
      writeSync(
        fd,
        new Uint8Array(row.buffer, row.byteOffset, row.byteLength),
        0,
        row.byteLength,
        head.length + i * bytesOf(shape),
      );
      map[tensor] = name;
    }
    closeSync(fd);
    truncateSync(join(folder, name), head.length + tensors.length * bytesOf([128, 128]));
  }
  writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
  writeFileSync(join(folder, "config.json"), JSON.stringify({ model_type: "deepseek_v3" }));
}

/** @param {number} layers */
function configOf(layers) {
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_size: HIDDEN,
    intermediate_size: WIDE,
    num_hidden_layers: layers,
    num_attention_heads: 16,
    num_key_value_heads: 4,
    vocab_size: VOCABULARY,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: false,
    torch_dtype: "bfloat16",
  };
}
