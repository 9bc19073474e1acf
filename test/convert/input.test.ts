import {
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import path from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import {
  contents,
  convert,
  differing,
  events,
  scratch,
  stoppedRun,
  writeCheckpoint,
  writeShard,
} from "./harness.js";

const { dir, remove } = scratch();
const good = writeCheckpoint(path.join(dir, "good"));
const source = path.join(dir, "source");
const output = path.join(dir, "out");
const shard = path.join(source, "model-00002-of-00002.safetensors");
const index = path.join(source, "model.safetensors.index.json");

beforeEach(() => {
  for (const folder of [source, output, `${output}.partial`])
    rmSync(folder, { recursive: true, force: true });
  cpSync(good, source, { recursive: true });
});
afterAll(remove);

/** Replaces bytes of the second shard from `offset` on; the header begins at 8. */
function overwrite(offset: number, bytes: Buffer): void {
  const fd = openSync(shard, "r+");
  writeSync(fd, bytes, 0, bytes.length, offset);
}

function replaceInHeader(from: string, to: string): void {
  const data = readFileSync(shard);
  const at = data.indexOf(from);
  expect(at).toBeGreaterThan(0);
  expect(to.length).toBe(from.length);
  overwrite(at, Buffer.from(to));
}

function editIndex(edit: (map: Record<string, string>) => void): void {
  const json = JSON.parse(readFileSync(index, "utf8"));
  edit(json.weight_map);
  writeFileSync(index, JSON.stringify(json));
}

const FAULTS: [string, () => void, RegExp][] = [
  ["a shard that is cut short", () => truncateSync(shard, 1000), /truncated/],
  ["a shard that is missing", () => rmSync(shard), /named by .*index\.json and is not there/],
  ["an empty shard", () => truncateSync(shard, 0), /too short for a safetensors file/],
  [
    "a header of 100 GB",
    () => overwrite(0, Buffer.from([0, 232, 118, 72, 23, 0, 0, 0])),
    /header of 100000000000 bytes/,
  ],
  ["a flipped bit in a header", () => replaceInHeader('"dtype"', '"dtypf"'), /tensor .*: dtype/],
  ["a wrong dtype", () => replaceInHeader('"BF16"', '"BF61"'), /dtype BF61/],
  ["a dtype of another size", () => replaceInHeader('"BF16"', '"F32" '), /need \d+ bytes/],
  [
    "an index that names another file",
    () =>
      editIndex((map) => {
        map["m.norm.weight"] = "model-00001-of-00002.safetensors";
      }),
    /says that m\.norm\.weight is in model-00001.*it is in model-00002/,
  ],
  [
    "an index that names a tensor too many",
    () =>
      editIndex((map) => {
        map["m.9.weight"] = "model-00001-of-00002.safetensors";
      }),
    /m\.9\.weight .*in no file/,
  ],
  [
    "an index that names a tensor too few",
    () =>
      editIndex((map) => {
        delete map["m.norm.weight"];
      }),
    /m\.norm\.weight is in .*, but not in/,
  ],
  [
    "an index that leads elsewhere",
    () =>
      editIndex((map) => {
        map["m.norm.weight"] = "../x.safetensors";
      }),
    /not a file beside it/,
  ],
  ["an index that is not JSON", () => writeFileSync(index, "{"), /index\.json is not JSON/],
  [
    "a config.json that is a list",
    () => writeFileSync(path.join(source, "config.json"), "[1]"),
    /config\.json is JSON, but no object/,
  ],
  [
    "a tensor in two shards",
    () => {
      rmSync(index);
      writeShard(path.join(source, "model-00001-of-00002.safetensors"), { "m.norm.weight": [3] }, 9);
    },
    /tensor m\.norm\.weight is in model-00001.* and in model-00002/,
  ],
];

describe("a source with", () => {
  it.each(FAULTS)("%s is refused before anything is written", async (what, damage, message) => {
    damage();
    const ran = await convert(["run", source, output]);
    expect(ran.code).toBe(1);
    expect(ran.err).toBe("");
    expect(events(ran)).toMatchObject([{ event: "error", code: "OPSWAP_E_SOURCE" }]);
    expect(String(events(ran)[0]?.message)).toMatch(message);
    // Only a shard itself can be damaged.
    const index = /index|in two shards/.test(what);
    if (index) expect(String(events(ran)[0]?.remedy)).not.toMatch(/damaged/);
    expect([existsSync(output), existsSync(`${output}.partial`)]).toEqual([false, false]);
  });

  it("a quantised model is refused by name", async () => {
    writeFileSync(
      path.join(source, "config.json"),
      '{"quantization_config": {"quant_method": "bitsandbytes"}}',
    );
    const ran = await convert(["plan", source, "--json"]);
    expect(ran.code).toBe(2);
    expect(ran.out + ran.err).toMatch(/OPSWAP_E_CANNOT_CONVERT/);
    expect(ran.out + ran.err).toMatch(/quantized|quantised already/);
  });

  it("a layout that is not there yet is refused by name", async () => {
    const ran = await convert(["plan", source, "--to", "w4a8_g128_sm90"]);
    expect(ran.code).toBe(2);
    expect(ran.err).toMatch(/w4a8_g128_sm90 has no writer in this version/);
  });
});

describe("an output", () => {
  it("carries config, index and other files over, and verifies", async () => {
    const ran = await convert([source, output]);
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(events(ran).map((one) => one.event)).toEqual(
      expect.arrayContaining(["begin", "tensor", "publish", "verified"]),
    );
    const config = readFileSync(path.join(output, "config.json"), "utf8");
    expect(config).toContain('"rope_theta": 10000.0');
    expect(JSON.parse(config).quantization_config).toMatchObject({
      quant_method: "fp8",
      weight_block_size: [128, 128],
    });
    const { weight_map, metadata } = JSON.parse(
      readFileSync(path.join(output, path.basename(index)), "utf8"),
    );
    expect(weight_map["m.1.o_proj.weight_scale_inv"]).toBe("model-00002-of-00002.safetensors");
    expect(metadata.total_size).toBeGreaterThan(700 * 1100);
    for (const name of ["tokenizer.json", "extra/chat.txt"])
      expect(readFileSync(path.join(output, name))).toEqual(readFileSync(path.join(source, name)));
  });

  it("has the words and numbers of Python's JSON as the source has them", async () => {
    const members = '"time_step_limit": [0.0, Infinity], "x": [-Infinity, NaN], "n": 12345678901234567890';
    writeFileSync(path.join(source, "config.json"), `{${members}, "torch_dtype": "float32", "y": 1e4}`);
    expect(await convert([source, output, "--to", "bf16", "-q"])).toMatchObject({ code: 0, err: "" });
    const text = readFileSync(path.join(output, "config.json"), "utf8");
    expect(text).toBe(`{${members}, "y": 1e4,\n  "torch_dtype": "bfloat16"\n}`);
    expect(await convert([output, `${output}-again`, "-q"])).toMatchObject({ code: 0, err: "" });
    expect(readFileSync(path.join(`${output}-again`, "config.json"), "utf8")).toContain(members);
  });

  it("that is finished is not made again; another in its place is refused", async () => {
    await convert(["run", source, output]);
    const made = contents(output);
    const again = await convert(["run", source, output]);
    expect(events(again)).toMatchObject([{ event: "end", already_done: true }]);
    expect(differing(made, contents(output))).toEqual([]);
    const other = await convert(["run", source, output, "--keep", "m.1.*"]);
    expect(events(other)).toMatchObject([{ code: "OPSWAP_E_OUTPUT" }]);
    expect(differing(made, contents(output))).toEqual([]);
  });

  it.each(["inside", "."])("that lies in the source (%s) is refused", async (below) => {
    const ran = await convert(["run", source, path.join(source, below)]);
    expect(events(ran)).toMatchObject([{ code: "OPSWAP_E_OUTPUT" }]);
    expect(differing(contents(good), contents(source))).toEqual([]);
  });

  it("is the same bytes for any number of threads", async () => {
    await convert(["run", source, output, "--threads", "1"]);
    await convert(["run", source, `${output}8`, "--threads", "8"]);
    expect(differing(contents(output), contents(`${output}8`))).toEqual([]);
    expect((await convert(["diff", output, `${output}8`])).code).toBe(0);
  });

  it("with one flipped bit does not verify", async () => {
    await convert(["run", source, output, "--quiet"]);
    const file = path.join(output, path.basename(shard));
    const fd = openSync(file, "r+");
    const end = readFileSync(file).length - 77;
    const byte = Buffer.alloc(1);
    readSync(fd, byte, 0, 1, end);
    writeSync(fd, Buffer.from([(byte[0] ?? 0) ^ 4]), 0, 1, end);
    const ran = await convert(["verify", source, output]);
    expect(ran.code).toBe(1);
    expect(events(ran).at(-1)).toMatchObject({ event: "error", code: "OPSWAP_E_MISMATCH" });
    expect(String(events(ran).at(-1)?.message)).toMatch(/tensor m\.1\.down_proj\.weight .*1 bytes differ/);
    const compared = await convert(["diff", output, source, "--json"]);
    expect(JSON.parse(compared.out).entries.length).toBeGreaterThan(0);
  });

  it("is not written by two at once", async () => {
    const slow = await stoppedRun(["run", source, output], `${output}.partial`, 8);
    const others = [await convert(["run", source, output]), await convert([source, output])];
    expect(others.map(({ code }) => code)).toEqual([1, 1]);
    for (const other of others)
      expect(events(other).at(-1)).toMatchObject({ event: "error", code: "OPSWAP_E_OUTPUT_BUSY" });
    const ended = new Promise((done) => slow.on("close", done));
    slow.kill("SIGKILL");
    await ended;
    expect((await convert(["run", source, output])).code).toBe(0);
    expect((await convert(["verify", source, output, "-q"])).code).toBe(0);
  });
});

it("a run that hangs on its input ends with it", async () => {
  const ran = await convert([source, output, "--until-eof"]);
  expect(ran).toMatchObject({ code: 1, err: "" });
  expect(events(ran).filter((one) => one.event === "verified")).toEqual([]);
  expect((await convert([source, output])).code).toBe(0);
});

it("plan tells room and time, and leaves nothing behind", async () => {
  const before = readdirSync(dir);
  const planned = JSON.parse((await convert(["plan", source, output, "--json"])).out);
  expect(planned.room).toMatchObject({ enough: true });
  const { seconds, bytes_per_second, sampled_bytes } = planned.time;
  expect(seconds * bytes_per_second).toBeCloseTo(planned.source_bytes, 3);
  expect(sampled_bytes).toBe(2 * (300 * 64 + 700 * 1100 + 64 + 130 * 257 + 256 * 128 + 64));
  expect(JSON.parse((await convert(["plan", source, output, "--json", "--no-measure"])).out).time).toBeNull();
  expect((await convert(["plan", source, output])).out).toMatch(/Time: about .* estimated from/);
  expect(readdirSync(dir)).toEqual(before);
});

it("plan names what goes along without being known, and what is left out with the reason", async () => {
  writeShard(path.join(source, "consolidated.safetensors"), { "norm.weight": [64] }, 3);
  for (const name of ["hf_quant_config.json", "params.json"]) writeFileSync(path.join(source, name), "{}");
  const planned = JSON.parse((await convert(["plan", source, "--json"])).out);
  expect(planned).toMatchObject({
    carried: ["extra/chat.txt", "tokenizer.json"],
    unknown: ["extra/chat.txt"],
  });
  expect(planned.left_out.map(({ name }: { name: string }) => name)).toEqual([
    "consolidated.safetensors",
    "hf_quant_config.json",
    "params.json",
  ]);
  const { out } = await convert(["plan", source]);
  expect(out).toMatch(/Not known, and carried over as they are: extra\/chat.txt/);
  expect(out).toMatch(/consolidated.safetensors: the same weights under Mistral's names/);
  expect(out).toMatch(/hf_quant_config.json: says how the source was quantised/);
});

it("inspect lists files and dtypes", async () => {
  mkdirSync(path.join(source, "empty"));
  const ran = await convert(["inspect", source, "--json"]);
  expect(JSON.parse(ran.out)).toMatchObject({ dtypes: [{ dtype: "BF16", tensors: 6 }], layout: null });
});
