import { spawn } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cli, fakeEngine, opswap, type Server, scratch } from "./harness.js";

const { dir, remove } = scratch();
const env = { OPSWAP_RUNTIME_DIR: dir };
afterAll(remove);

/** One refusal: a line that says it, once, with its code, and what to do below. */
const ONE_REFUSAL = /^opswap: [^\n]+ \[OPSWAP_E_[A-Z_]+\]\n( {2}[^\n]+\n)+$/;

describe("a command line that is wrong", () => {
  it.each([
    [["statsu"], /unknown command 'statsu' \(Did you mean status\?\)/],
    [["statsu", "--help"], /unknown command 'statsu' \(Did you mean status\?\)/],
    [["-h", "statsu"], /Did you mean status/],
    [["help", "statsu"], /Did you mean status/],
    [["QQQQQQQQQQ", "--help"], /unknown command 'QQQQQQQQQQ'/],
    [["convert", "plna", "--help"], /Did you mean plan/],
    [["convert", "inspekt", dir], /Did you mean inspect/],
    [["ops", "--jsn"], /unknown option '--jsn' \(Did you mean --json\?\)/],
    [["ops", "rms_norm"], /too many arguments/],
    [["use"], /missing required argument 'changes'/],
    [["use", "rms_norm"], /use: got 1 words/],
    [["use", "rms_norm=ref", "linear"], /expected OP=IMPL; got linear/],
    [["use", "rms_norm", "ref", "--timeout", "0"], /seconds from 0.001 to 600/],
    [["sidecar", "--threads", "0"], /a number from 1 to 64/],
    [["sidecar", "--name", "a/b"], /sidecar name: expected/],
    [["sidecar", "--variants", "no_such"], /--variants no_such: expected one of/],
    [["console", "--interval", "5"], /100 to 60000/],
    [["manifest", "rms_nrom", "--local"], /did you mean rms_norm/],
    [["why", "rms_nrom", "--local"], /did you mean 'rms_norm'/],
    [["call", "rms_nrom", "--local"], /did you mean rms_norm/],
    [["call", "rms_norm", "inptu=x.npy", "--local"], /did you mean input/],
  ])("%j is refused once, with what was meant", async (args, said) => {
    const ran = await opswap(args, env);
    expect(ran).toMatchObject({
      code: 2,
      out: args[0] === "convert" && args.length === 3 ? expect.any(String) : "",
    });
    const told = ran.err || ran.out;
    expect(told).toMatch(said);
    if (ran.err) expect(ran.err).toMatch(ONE_REFUSAL);
  });

  const TARGETS = [["--local"], ["--engine", "e"], ["--sidecar", "s"]];
  const PAIRS = TARGETS.flatMap((one, i) => TARGETS.slice(i + 1).map((other) => [...one, ...other]));
  const CONFLICTS = [
    ...["ops", "status", "manifest", "why x"].flatMap((verb) =>
      PAIRS.map((pair) => [...verb.split(" "), ...pair]),
    ),
    ["doctor", "--local", "--engine", "e"],
    ["console", "--local", "--engine", "e"],
    ["call", "x", "--local", "--sidecar", "s"],
    ["use", "a", "b", "--all-engines", "--engine", "e"],
    ["convert", "plan", dir, "--tp", "2", "--tensor-parallel", "2"],
    ["convert", "run", dir, dir, "--restart", "--workers", "2"],
    ["convert", "run", dir, dir, "--shard", "1/2", "--workers", "2"],
  ];
  it.each(CONFLICTS)("of two that exclude each other none is ignored: %s %s %s %s %s", async (...args) => {
    const ran = await opswap(args, env);
    expect(ran.code).toBe(2);
    expect(ran.err).toMatch(/cannot be used with .*\[OPSWAP_E_USAGE\]/);
  });

  it("is told as JSON where JSON is asked for", async () => {
    const ran = await opswap(["ops", "--json", "--local", "--engine", "e"], env);
    expect(ran).toMatchObject({ code: 2, err: "" });
    expect(JSON.parse(ran.out).error).toMatchObject({
      code: "OPSWAP_E_USAGE",
      remedy: expect.stringMatching(/--help/),
    });
  });
});

describe("what cannot be had", () => {
  it.each([
    ["a Python that is not there", { OPSWAP_PYTHON: "/nowhere/python" }, /unset it/],
    ["a Python that cannot be run", { OPSWAP_PYTHON: dir }, /OPSWAP_PYTHON/],
  ])("%s", async (_what, setting, remedy) => {
    const ran = await opswap(["sidecar"], { ...env, ...setting });
    expect(ran.code).toBe(3);
    expect(ran.err).toMatch(ONE_REFUSAL);
    expect(ran.err).toMatch(/OPSWAP_E_PYTHON/);
    expect(ran.err).toMatch(remedy);
  });

  it("a library that is not there: a build would not help a setting", async () => {
    const ran = await opswap(["ops", "--local"], { ...env, OPSWAP_NODE: "/nowhere/opswap.node" });
    expect(ran).toMatchObject({ code: 3, out: "" });
    expect(ran.err).toMatch(/\[OPSWAP_E_NATIVE\]\n {2}.*OPSWAP_NODE/);
  });

  it.each([
    ["the parent is a file", "/dev/null/opswap", /OPSWAP_E_RUNTIME_DIR/],
    ["it cannot be made", "/proc/opswap", /OPSWAP_E_RUNTIME_DIR/],
  ])("a runtime folder: %s", async (_why, place, code) => {
    const ran = await opswap(["sidecar"], { OPSWAP_RUNTIME_DIR: place });
    expect(ran.code).toBe(1);
    expect(ran.err).toMatch(ONE_REFUSAL);
    expect(ran.err).toMatch(code);
    expect(ran.err).toMatch(/set OPSWAP_RUNTIME_DIR/);
  });

  it("a standard output that is full", async () => {
    const child = spawn(process.execPath, [cli, "manifest", "--local"], {
      stdio: ["ignore", openSync("/dev/full", "w"), "pipe"],
    });
    const said = text(child.stderr as Readable);
    const [code] = await once(child, "close");
    expect(code).toBe(1);
    expect(await said).toMatch(/^opswap: .*ENOSPC.*\[OPSWAP_E_DISK_FULL\]/);
  });
});

describe.each([1, 2])("a switch that %d ranks refuse", (ranks) => {
  const name = `of${ranks}`;
  let engine: Server;
  beforeAll(async () => {
    engine = await fakeEngine(dir, name, "--ranks", String(ranks));
  });
  afterAll(() => engine.stop());

  it("is said once, with the ranks", async () => {
    const { code, err } = await opswap(["use", "rms_norm", "sm90", "--engine", name], env);
    expect(code).toBe(1);
    expect(err).toMatch(ONE_REFUSAL);
    expect(err.match(/no usable CUDA device/g)).toHaveLength(1);
    expect(err).toMatch(ranks === 1 ? /^ {2}on rank 0$/m : /^ {2}on ranks 0, 1$/m);
  });
});
