import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatNpy, parseNpy } from "../../ts-client/src/tensorfile/npy.js";
import { formatSafetensors, parseSafetensors } from "../../ts-client/src/tensorfile/safetensors.js";
import { opswap, Server, scratch } from "./harness.js";

const input = Float32Array.of(3, 4, 0, 0);
const weight = Float32Array.of(1, 2, 3, 4);
/** rms of the row is 2.5. */
const expected = [3 / 2.5, (4 / 2.5) * 2, 0, 0];

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

const { dir, remove } = scratch();
const env = { OPSWAP_RUNTIME_DIR: dir };
const file = (name: string) => path.join(dir, name);
let sidecar: Server;

beforeAll(async () => {
  writeFileSync(file("x.npy"), formatNpy("x", { dtype: "float32", shape: [1, 4], bytes: bytesOf(input) }));
  const tensors = new Map([["weight", { dtype: "float32", shape: [4], bytes: bytesOf(weight) }]]);
  writeFileSync(file("w.safetensors"), formatSafetensors(tensors));
  sidecar = await Server.sidecar(env);
});
afterAll(async () => {
  await sidecar.stop();
  remove();
});

describe.each([
  ["in the sidecar", []],
  ["in this process", ["--local"]],
])("call %s", (_where, where) => {
  const words = [
    "call",
    "rms_norm",
    `input=${file("x.npy")}`,
    `weight=${file("w.safetensors")}`,
    "epsilon=0",
    ...where,
  ];

  it("computes from files and saves .npy", async () => {
    const ran = await opswap([...words, "--impl", "ref", "--save", file("y.npy")], env);
    expect(ran.err).toBe("");
    expect(ran.out).toMatch(/rms_norm ran on ref/);
    const { dtype, shape, bytes } = parseNpy("y", readFileSync(file("y.npy")));
    expect([dtype, shape]).toEqual(["float32", [1, 4]]);
    const values = new Float32Array(new Uint8Array(bytes).buffer);
    for (const [i, value] of expected.entries()) expect(values[i]).toBeCloseTo(value, 5);
  });

  it("saves .safetensors under the argument's name and reports JSON", async () => {
    const ran = await opswap([...words, "--save", file("y.safetensors"), "--json"], env);
    expect(JSON.parse(ran.out)).toMatchObject({ op: "rms_norm", written: [{ name: "out", shape: [1, 4] }] });
    expect([...parseSafetensors("y", readFileSync(file("y.safetensors"))).keys()]).toEqual(["out"]);
  });

  it.each([
    [["call", "rms_norm", ...where], /input .*missing|does not follow/],
    [["call", "rms_norm", "inptu=x.npy", ...where], /NAME one of out, input, weight, epsilon/],
    [["call", "rms_norm", `input=${file("no.npy")}`, ...where], /cannot be read/],
    [[...words, "--impl", "reff"], /ref/],
    [["call", "rms_nrom", ...where], /rms_norm/],
    [["call", "rms_norm", "epsilon=tiny", ...where], /epsilon is of kind float; got tiny/],
  ])("%j is refused in words", async (args, hint) => {
    const ran = await opswap(args, env);
    expect(ran.code).toBe(2);
    expect(ran.err).toMatch(hint);
    expect(ran.err).not.toMatch(/\n\s+at |Traceback/);
  });

  it("joins tensors of different sizes, and sizes the whole", async () => {
    const part = (shape: number[], values: number[]) => ({
      dtype: "float32",
      shape,
      bytes: bytesOf(Float32Array.from(values)),
    });
    writeFileSync(file("a.npy"), formatNpy("a", part([2, 1, 1, 2], [1, 2, 3, 4])));
    writeFileSync(file("b.npy"), formatNpy("b", part([2, 1, 2, 2], [5, 6, 7, 8, 9, 10, 11, 12])));
    const parts = [`first=${file("a.npy")}`, `second=${file("b.npy")}`];
    const ran = await opswap(["call", "concat", ...parts, ...where, "--save", file("c.npy")], env);
    expect(ran.err).toBe("");
    const { shape, bytes } = parseNpy("c", readFileSync(file("c.npy")));
    expect(shape).toEqual([2, 1, 3, 2]);
    expect([...new Float32Array(new Uint8Array(bytes).buffer)]).toEqual([
      1, 2, 5, 6, 7, 8, 3, 4, 9, 10, 11, 12,
    ]);
  });

  it("names shapes that do not fit", async () => {
    const ran = await opswap(
      ["call", "rms_norm", `input=${file("x.npy")}`, `weight=${file("x.npy")}`, ...where],
      env,
    );
    expect(ran.code).toBe(1);
    expect(ran.err).toMatch(/rms_norm.*weight/);
  });
});
