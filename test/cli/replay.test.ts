import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pythonEnvironment } from "../../ts-client/src/python-environment.js";
import { formatSafetensors } from "../../ts-client/src/tensorfile/safetensors.js";
import { opswap, root, Server, scratch } from "./harness.js";

const { dir, remove } = scratch();
const env = { OPSWAP_RUNTIME_DIR: dir };
let sidecar: Server;

/** A file that the library itself recorded. */
function recorded(...words: string[]): string {
  const folder = path.join(dir, `recorded-${words.length}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { mode: 0o700 });
  const { python, env: host } = pythonEnvironment();
  const script = path.join(root, "test/cli/record.py");
  return execFileSync(python, [script, folder, ...words], { env: host, encoding: "utf8" }).trim();
}

beforeAll(async () => {
  sidecar = await Server.sidecar(env);
});
afterAll(async () => {
  await sidecar.stop();
  remove();
});

describe.each([
  ["in the sidecar", []],
  ["in this process", ["--local"]],
])("replay %s", (_where, where) => {
  it("runs a recording on each implementation and compares what they write", async () => {
    const ran = await opswap(["replay", recorded(), "--impl", "ref,cpu,ref", "--json", ...where], env);
    expect(ran.err).toBe("");
    expect(ran.code).toBe(0);
    const report = JSON.parse(ran.out);
    expect(report).toMatchObject({ op: "rms_norm", bucket: "T4 H4 float32", yardstick: "ref" });
    expect(report.arms).toMatchObject([
      { impl: "cpu", output: "out", elements: 12, outside: 0 },
      { impl: "ref", output: "out", elements: 12, differing: 0, worst: [] },
    ]);
  });

  it("names an implementation that is not there, and the ones that are", async () => {
    const ran = await opswap(["replay", recorded(), "--impl", "ref,cup", ...where], env);
    expect(ran.code).toBe(2);
    expect(ran.err).toMatch(/named 'cup'; it has ref, .*OPSWAP_E_NO_IMPL/);
  });
});

it("prints a table", async () => {
  const ran = await opswap(["replay", recorded(), "--impl", "ref,cpu"], env);
  expect(ran.out).toMatch(/rms_norm, T4 H4 float32, against ref\nIMPLEMENTATION +OUTPUT +ELEMENTS/);
});

describe("replay --reference", () => {
  const header = {
    kind: "header",
    schema: 1,
    op: "rms_norm",
    op_hash: "h",
    control: "ref",
    candidate: "cpu",
    build: "b",
  };

  it("compares all with the float64 reference, and adds lines to a stream of samples", async () => {
    const stream = path.join(dir, "samples.jsonl");
    writeFileSync(stream, `${JSON.stringify(header)}\n`);
    const file = recorded();
    const ran = await opswap(["replay", file, file, "--impl", "ref,cpu", "--samples", stream], env);
    expect(ran).toMatchObject({ err: "", code: 0 });
    expect(ran.out.match(/against the float64 reference$/gm)).toHaveLength(2);
    const [, first, second] = readFileSync(stream, "utf8").trim().split("\n");
    expect(second).toBe(first);
    const line = JSON.parse(first ?? "");
    expect(line).toMatchObject({ kind: "reference", bucket: "T4 H4 float32" });
    for (const worst of [line.control_worst, line.candidate_worst]) {
      // Rounded to float32, so neither the reference itself nor far from it.
      expect(worst).toBeGreaterThan(0);
      expect(worst).toBeLessThan(1);
    }
  });

  it("refuses a stream of another comparison, and a process without references", async () => {
    const stream = path.join(dir, "other.jsonl");
    writeFileSync(stream, `${JSON.stringify({ ...header, candidate: "other" })}\n`);
    const ran = await opswap(["replay", recorded(), "--impl", "ref,cpu", "--samples", stream], env);
    expect(ran.err).toMatch(/is of rms_norm, ref, other, .*replay of rms_norm, ref, cpu.*OPSWAP_E_SAMPLES/);
    const three = await opswap(["replay", "none", "--impl", "ref,cpu,ref", "--samples", stream], env);
    expect(three.err).toMatch(/--impl names 3 implementations.*OPSWAP_E_USAGE/);
    expect((await opswap(["replay", "none", "--impl", "ref", "--reference", "--local"], env)).code).toBe(2);
  });
});

it("refuses a recording of another version of the op", async () => {
  const ran = await opswap(["replay", recorded("wrong"), "--impl", "ref,cpu", "--local"], env);
  expect(ran.code).toBe(2);
  expect(ran.err).toMatch(/recorded with version 7 of rms_norm, the library here has 1/);
});

it("refuses what is no recording", async () => {
  const file = path.join(dir, "plain.safetensors");
  writeFileSync(
    file,
    formatSafetensors(new Map([["x", { dtype: "int8", shape: [1], bytes: Uint8Array.of(1) }]])),
  );
  const ran = await opswap(["replay", file, "--impl", "ref", "--local"], env);
  expect(ran.code).toBe(2);
  expect(ran.err).toMatch(/is no recording.*OPSWAP_E_TENSOR_FILE/);
  const none = await opswap(["replay", path.join(dir, "none"), "--impl", "ref", "--local"], env);
  expect([none.code, none.err.split("\n").filter(Boolean).length <= 2]).toEqual([2, true]);
});
