import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DEFAULTS } from "../../ts-client/src/convert/options/options.js";
import { makePlan } from "../../ts-client/src/convert/plan/plan.js";
import { filesOf, parsePart } from "../../ts-client/src/convert/run/parts.js";
import { openSource } from "../../ts-client/src/convert/source/open.js";
import {
  buildFaults,
  contents,
  convert,
  differing,
  events,
  scratch,
  stoppedRun,
  writeCheckpoint,
} from "./harness.js";

const { dir, remove } = scratch();
const source = writeCheckpoint(path.join(dir, "source"));
const plan = makePlan(openSource(source), DEFAULTS);
let wanted: Map<string, Buffer>;
let turn = 0;

beforeAll(async () => {
  expect(await convert(["run", source, path.join(dir, "whole"), "-q"])).toMatchObject({ code: 0 });
  wanted = contents(path.join(dir, "whole"));
});
afterAll(remove);

function place(): string {
  const folder = path.join(dir, `turn-${++turn}`);
  mkdirSync(folder);
  return path.join(folder, "out");
}
const part = (output: string, which: string, ...more: string[]) =>
  convert(["run", source, output, "--shard", which, ...more]);

describe("the cut into parts", () => {
  it.each([1, 2, 3, 7, 50])("of %d has every tensor once, and the same each time", (count) => {
    const cut = (from: typeof plan) =>
      Array.from({ length: count }, (_, i) =>
        filesOf(from, { index: i + 1, count }).flatMap(({ tensors }) => tensors.map(({ name }) => name)),
      );
    const all = plan.files.flatMap(({ tensors }) => tensors.map(({ name }) => name));
    expect(all.length).toBeGreaterThan(5);
    expect(cut(plan).flat()).toEqual(all);
    // Each part is another process, which plans for itself.
    expect(cut(makePlan(openSource(source), DEFAULTS))).toEqual(cut(plan));
  });

  it("is even, by at most a tensor", () => {
    const bytes = (files: ReturnType<typeof filesOf>) =>
      files
        .flatMap(({ tensors }) => tensors)
        .reduce((sum, { source: { begin, end } }) => sum + end - begin, 0);
    const total = bytes([...plan.files]);
    const largest = Math.max(
      ...plan.files.flatMap(({ tensors }) => tensors.map((one) => one.source.end - one.source.begin)),
    );
    for (const index of [1, 2, 3])
      expect(Math.abs(bytes(filesOf(plan, { index, count: 3 })) - total / 3)).toBeLessThanOrEqual(largest);
  });
});

describe("parts", () => {
  it("in any order, at once or one by one, merge to the bytes of a whole run", async () => {
    const output = place();
    const [first, third] = await Promise.all([part(output, "3/3"), part(output, "1/3")]);
    expect([first.code, third.code]).toEqual([0, 0]);
    expect(existsSync(output)).toBe(false);
    expect((await part(output, "2/3")).code).toBe(0);
    const merged = await convert(["merge", source, output]);
    expect(merged).toMatchObject({ code: 0, err: "" });
    expect(events(merged).filter((one) => one.event === "tensor")).toEqual([]);
    expect(differing(contents(output), wanted)).toEqual([]);
    expect(readdirSync(path.dirname(output))).toEqual(["out"]);
    expect(events(await part(output, "2/3"))).toMatchObject([{ event: "end", already_done: true }]);
  });

  it("that are missing are named, and nothing is published", async () => {
    const output = place();
    await part(output, "2/3");
    const merged = await convert(["merge", source, output]);
    expect(merged.code).toBe(1);
    const [error] = events(merged);
    expect(error).toMatchObject({ event: "error", code: "OPSWAP_E_UNFINISHED" });
    expect(String(error?.message)).toMatch(/run --shard 1\/3, --shard 3\/3/);
    expect(existsSync(output)).toBe(false);
  });

  it("of another number take over what is done; so does a whole run", async () => {
    const output = place();
    await part(output, "1/2");
    const again = await part(output, "1/3");
    expect(events(again).filter((one) => one.event === "tensor")).toEqual([]);
    expect(events(again).some((one) => one.event === "resume")).toBe(true);
    expect((await convert(["run", source, output])).code).toBe(0);
    expect(differing(contents(output), wanted)).toEqual([]);
  });

  it("of other options are refused", async () => {
    const output = place();
    await part(output, "1/2");
    const other = await part(output, "2/2", "--keep", "m.1.*");
    expect(events(other)).toMatchObject([{ event: "error", code: "OPSWAP_E_STALE" }]);
  });

  it("that were damaged after they were done are mended by merge", async () => {
    const output = place();
    await part(output, "1/2");
    await part(output, "2/2");
    const file = path.join(`${output}.partial`, "model-00002-of-00002.safetensors");
    const bytes = readFileSync(file);
    bytes[bytes.length - 100] = (bytes[bytes.length - 100] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    const merged = await convert(["merge", source, output]);
    expect(events(merged).filter((one) => one.event === "tensor").length).toBe(1);
    expect(differing(contents(output), wanted)).toEqual([]);
  });

  it("are not run twice at once, nor merged while one runs", async () => {
    const output = place();
    await part(output, "1/2");
    const slow = await stoppedRun(["run", source, output, "--shard", "2/2"], path.dirname(output), 8);
    expect(existsSync(path.join(`${output}.partial`, ".opswap/part-2-of-2.jsonl"))).toBe(true);
    expect(events(await part(output, "2/2"))).toMatchObject([{ code: "OPSWAP_E_OUTPUT_BUSY" }]);
    expect(events(await convert(["merge", source, output]))).toMatchObject([
      { code: "OPSWAP_E_OUTPUT_BUSY" },
    ]);
    expect(events(await convert(["run", source, output]))).toMatchObject([{ code: "OPSWAP_E_OUTPUT_BUSY" }]);
    const ended = new Promise((done) => slow.on("close", done));
    slow.kill("SIGKILL");
    await ended;
    expect((await part(output, "2/2")).code).toBe(0);
    expect((await convert(["merge", source, output])).code).toBe(0);
    expect(differing(contents(output), wanted)).toEqual([]);
  });

  it.each([7, 9, 12])("that are killed at call %d resume alone", async (at) => {
    const output = place();
    const library = await buildFaults(dir);
    const env = {
      LD_PRELOAD: library,
      OPSWAP_FAULT_UNDER: path.dirname(output),
      OPSWAP_FAULT_AT: String(at),
    };
    const [killed, other] = await Promise.all([
      convert(["run", source, output, "--shard", "1/2"], env),
      part(output, "2/2"),
    ]);
    expect([killed.signal, other.code]).toEqual(["SIGKILL", 0]);
    expect((await part(output, "1/2")).code).toBe(0);
    expect((await convert(["merge", source, output])).code).toBe(0);
    expect(differing(contents(output), wanted)).toEqual([]);
  });
});

describe("a pool of workers", () => {
  it("makes the bytes of a whole run and verifies", async () => {
    const output = place();
    const ran = await convert([source, output, "--workers", "3"]);
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(events(ran).filter((one) => one.event === "tensor").length).toBe(
      plan.files.flatMap((file) => file.tensors).length,
    );
    expect(differing(contents(output), wanted)).toEqual([]);
  });

  it("tells a worker's error as its own", async () => {
    const output = place();
    mkdirSync(`${output}.partial`);
    await part(output, "1/2", "--keep", "m.1.*");
    const ran = await convert(["run", source, output, "--workers", "2"]);
    expect(ran.code).toBe(1);
    expect(events(ran).at(-1)).toMatchObject({ event: "error", code: "OPSWAP_E_STALE" });
  });
});

it("a part that is none is refused", async () => {
  expect(["1/2", "2/2"].map(parsePart)).toEqual([
    { index: 1, count: 2 },
    { index: 2, count: 2 },
  ]);
  for (const text of ["0/2", "3/2", "1", "a/b", "1/2/3"]) expect(parsePart(text)).toBeUndefined();
  expect((await part(place(), "0/2")).code).toBe(2);
});
